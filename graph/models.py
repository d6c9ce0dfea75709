"""What the GraphQL face keeps: the documents that an operator trusts. No tenant's rows."""

from django.db import models
from django.utils import timezone


class TrustedDocument(models.Model):
    """A document of a client's manifest, under the id that the client's build gave it.

    `digest` is the SHA-256 of `text`, as hexadecimal digits. The application only reads this.
    """

    client = models.CharField(max_length=64)
    document_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True, default="")
    text = models.TextField()
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "trusted_documents"
        constraints = [
            models.UniqueConstraint(
                fields=["document_id", "client"], name="trusted_documents_by_id"
            ),
        ]
        indexes = [models.Index(fields=["digest"], name="trusted_documents_by_digest")]

    def __str__(self) -> str:
        """Return whose document it is."""
        return f"{self.client}: {self.name or self.document_id}"
