"""Storages of a test's own: a folder, and a bucket of a local S3 server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import Settings


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """Media lies in an empty folder, and uploads in another."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return tmp_path / "media"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on the loopback, which ends with the module."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, settings: Settings) -> Iterator[str]:
    """Media lies in an empty bucket; its name."""
    settings.S3_BUCKET = f"media-{uuid4().hex}"
    settings.S3_ENDPOINT_URL = s3_server
    settings.S3_REGION = "us-east-1"
    settings.S3_ACCESS_KEY_ID = settings.S3_SECRET_ACCESS_KEY = "test"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "assets.bucket_storage.BucketStorage"},
    }
    client = default_storage.connection.meta.client  # type: ignore[attr-defined]
    client.create_bucket(Bucket=settings.S3_BUCKET)
    yield settings.S3_BUCKET
    client.close()
