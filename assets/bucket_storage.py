"""Media in a bucket of an S3-compatible service (django-storages), where SIGNATE_S3_BUCKET says so.

Named in settings.STORAGES; used through assets.storage. Objects are private: they are served
through assets.views, or by addresses that it signs for minutes. An upload appears as a whole by
itself. Every failure of the service is an OSError, as a folder's would be.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files import File
from storages.backends.s3 import S3Storage

from assets.storage import CHUNK_BYTES, HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

_GONE = frozenset({"404", "NoSuchKey", "NotFound"})
# What a conditional request says when the object is another one by now.
_REPLACED = frozenset({"412", "PreconditionFailed"})


@contextmanager
def _as_os_errors(name: str) -> Iterator[None]:
    """Raise FileNotFoundError for an object that is not there, OSError for all other failures."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _GONE or code in _REPLACED:
            raise FileNotFoundError(name) from error
        raise OSError(f"The object storage refused: {code}") from error
    except BotoCoreError as error:
        raise OSError(f"The object storage cannot be used: {type(error).__name__}") from error


class BucketBody:
    """Part of an object, as it arrives."""

    def __init__(self, stream: Any, name: str) -> None:
        """Take botocore's stream of one answer."""
        self._stream = stream
        self._name = name

    def __iter__(self) -> BucketBody:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next chunk."""
        with _as_os_errors(self._name):
            chunk: bytes = self._stream.read(CHUNK_BYTES)
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Drop the connection with what has not arrived."""
        self._stream.close()


class HeldBody:
    """Bytes that are there already."""

    def __init__(self, content: bytes) -> None:
        """Take them."""
        self._content = content

    def __iter__(self) -> HeldBody:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return them all, once."""
        content, self._content = self._content, b""
        if not content:
            raise StopIteration
        return content

    def close(self) -> None:
        """Nothing is open."""


class BucketFile:
    """An object as one answer described it (assets.storage.StoredFile)."""

    def __init__(self, storage: BucketStorage, name: str, answer: dict[str, Any]) -> None:
        """Take the answer to a request for its beginning."""
        self._storage = storage
        self._name = name
        self._etag: str = answer["ETag"]
        _, _, total = answer.get("ContentRange", "").rpartition("/")
        self.size = int(total or answer["ContentLength"])
        self.modified: datetime = answer["LastModified"]
        self.version = f"{self.size}:{self._etag}"
        with answer["Body"] as stream:
            self.head: bytes = stream.read(HEAD_BYTES)

    def body(self, start: int, length: int) -> BucketBody | HeldBody:
        """Return these bytes; raises FileNotFoundError when the object is another one by now."""
        end = start + length
        if end <= len(self.head):
            return HeldBody(self.head[start:end])
        asked = {"Range": f"bytes={start}-{end - 1}", "IfMatch": self._etag}
        return BucketBody(self._storage.get(self._name, **asked)["Body"], self._name)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class BucketEntry:
    """An object in a listing (assets.storage.Listed)."""

    key: str
    size: int
    modified: datetime


class BucketStorage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """django-storages' S3 storage as this service uses it."""

    def get_default_settings(self) -> dict[str, Any]:
        """Return what SIGNATE_S3_… say, and what holds for every service."""
        return {
            **super().get_default_settings(),
            "bucket_name": settings.S3_BUCKET,
            "endpoint_url": settings.S3_ENDPOINT_URL or None,
            "region_name": settings.S3_REGION or None,
            # Without keys boto3 looks for the machine's own role.
            "access_key": settings.S3_ACCESS_KEY_ID or None,
            "secret_key": settings.S3_SECRET_ACCESS_KEY or None,
            "file_overwrite": False,
            "default_acl": None,
            "querystring_auth": True,
            "custom_domain": None,
            "location": "",
            "gzip": False,
            "client_config": Config(
                signature_version="s3v4",
                # A service under one host name has no host for each bucket.
                s3={"addressing_style": "path" if settings.S3_ENDPOINT_URL else "auto"},
                connect_timeout=3,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 2},
                # Many compatible services know nothing of the checksums that Amazon's prefers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            # One part in memory at a time, not ten.
            "transfer_config": TransferConfig(use_threads=False),
        }

    def replace(self, name: str, content: File[Any]) -> None:
        """Store under exactly this name, over what is there."""
        self._save(name, content)

    def adopt(self, name: str, source: Path) -> None:
        """Upload a file of this machine, in parts."""
        with source.open("rb") as file:
            self._save(name, File(file))

    def read(self, name: str) -> BucketFile:
        """Ask for an object's beginning; raises FileNotFoundError when there is none."""
        try:
            answer = self.get(name, Range=f"bytes=0-{HEAD_BYTES - 1}")
        except FileNotFoundError:
            raise
        except OSError as error:
            # There is no first byte of nothing.
            if not isinstance(error.__cause__, ClientError) or not _is_empty(error.__cause__):
                raise
            answer = self.get(name)
        return BucketFile(self, name, answer)

    def walk(self, prefix: str) -> Iterator[BucketEntry]:
        """List every object whose name starts with `prefix`."""
        with _as_os_errors(prefix):
            pages = self.connection.meta.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name, Prefix=prefix
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    yield BucketEntry(one["Key"], one["Size"], one["LastModified"])

    def address(self, name: str, *, seconds: int, headers: dict[str, str]) -> str:
        """Return where anybody may fetch the object for `seconds`, answered with `headers`."""
        pinned = {f"Response{header.replace('-', '')}": value for header, value in headers.items()}
        with _as_os_errors(name):
            url: str = self.url(name, parameters=pinned, expire=seconds)
        return url

    def delete(self, name: str) -> None:
        """Remove an object; it is no error when there is none."""
        with _as_os_errors(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        with _as_os_errors(name):
            found: bool = super().exists(name)
        return found

    def get(self, name: str, **asked: str) -> dict[str, Any]:
        """Return the answer to GetObject; its `Body` is to be closed."""
        with _as_os_errors(name):
            answer: dict[str, Any] = self.connection.meta.client.get_object(
                Bucket=self.bucket_name, Key=name, **asked
            )
        return answer

    def _save(self, name: str, content: File[Any]) -> str:
        """Upload (django-storages' hook)."""
        with _as_os_errors(name):
            stored: str = super()._save(name, content)
        return stored


def _is_empty(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in {"416", "InvalidRange"}
