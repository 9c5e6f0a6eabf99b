"""Encryption at rest with keys derived from Django's secret keys."""

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASK = "********"
"""Shown in place of a secret; entered in its place, the stored one stays."""
_KEY_BYTES = 32


class UnreadableError(Exception):
    """The data was encrypted with another key, or was changed."""


class Encryption:
    """Encrypts with the first key, and decrypts with any of them.

    purpose: data of one purpose cannot be read as that of another.
    """

    def __init__(self, secret_keys: Sequence[str], *, purpose: str) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key, purpose)) for key in secret_keys])

    def encrypt(self, text: str) -> str:
        return self._fernet.encrypt(text.encode("utf-8", "surrogatepass")).decode("ascii")

    def decrypt(self, token: str) -> str:
        """Return the text. Raises UnreadableError."""
        try:
            return self._fernet.decrypt(token.encode("ascii")).decode("utf-8", "surrogatepass")
        except (InvalidToken, UnicodeError):
            # Not chained: a traceback would show the token.
            raise UnreadableError("it was encrypted with another secret key") from None


@lru_cache(maxsize=16)
def _derived(secret_key: str, purpose: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=f"claude-sdk-proxy {purpose} 1".encode())
    return base64.urlsafe_b64encode(hkdf.derive(secret_key.encode("utf-8", "surrogatepass")))
