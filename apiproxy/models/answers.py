"""Recent answers, encrypted with a key that only the client has (`apiproxy/answers/`)."""

from typing import ClassVar

from django.db import models


class RecentAnswer(models.Model):
    """An answer that the client may refer to in its next requests.

    size_bytes: of `sealed`. expires_at: renewed while the answer is used.
    """

    key_id = models.BigIntegerField()
    expires_at = models.DateTimeField()
    size_bytes = models.PositiveIntegerField()
    sealed = models.BinaryField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["key_id", "expires_at", "size_bytes"], name="answer_of_key"),
            models.Index(fields=["expires_at", "size_bytes"], name="answer_expires"),
        ]

    def __str__(self) -> str:
        return f"answer {self.pk} of key {self.key_id}"


class RecentAnswerName(models.Model):
    """A name of a recent answer: a keyed digest of its id, or of the id of a tool call in it."""

    name = models.UUIDField(primary_key=True)
    answer = models.ForeignKey(RecentAnswer, on_delete=models.DO_NOTHING, related_name="names")  # deleted together

    def __str__(self) -> str:
        return str(self.name)
