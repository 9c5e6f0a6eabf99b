"""Encryption with a key derived from a client's API key, which is not stored anywhere.

So neither the operator's disk nor a dump of the database can reveal what is sealed.
"""

import hmac
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO = b"claude-sdk-proxy recent answers 1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_NAME_BYTES = 16
_VERSION = b"\x01"
_HEAD_BYTES = len(_VERSION) + _NAME_BYTES + _NONCE_BYTES
OVERHEAD_BYTES = _HEAD_BYTES + 16
"""Sealed data is this much longer; the last 16 bytes are the tag."""


def derive_seal_key(secret: str) -> bytes:
    """Key material for `Seal`, derived from an API key's secret."""
    hkdf = HKDF(algorithm=SHA256(), length=2 * _KEY_BYTES, salt=None, info=_INFO)
    return hkdf.derive(secret.encode("utf-8", "surrogatepass"))


class Seal:
    """Encrypts and names the data of one API key.

    material: from `derive_seal_key`. key_id: bound to all that is sealed.
    """

    def __init__(self, material: bytes, key_id: int) -> None:
        self._cipher = AESGCM(material[:_KEY_BYTES])
        self._name_key = material[_KEY_BYTES:]
        self._key_id = key_id

    def name(self, identifier: str) -> UUID:
        """Name under which data about an identifier is stored. It cannot be computed without the secret."""
        text = identifier.encode("utf-8", "surrogatepass")
        return UUID(bytes=hmac.digest(self._name_key, text, "sha256")[:_NAME_BYTES])

    def seal(self, name: UUID, data: bytes) -> bytes:
        """Encrypt data, bound to its name and to the API key."""
        nonce = os.urandom(_NONCE_BYTES)
        return b"".join((_VERSION, name.bytes, nonce, self._cipher.encrypt(nonce, data, self._bound(name.bytes))))

    def open(self, sealed: bytes) -> tuple[UUID, bytes] | None:
        """Return name and data; None if another key sealed it, or it was changed."""
        if len(sealed) < OVERHEAD_BYTES or sealed[:1] != _VERSION:
            return None
        name, nonce = sealed[1 : 1 + _NAME_BYTES], sealed[1 + _NAME_BYTES : _HEAD_BYTES]
        try:
            return UUID(bytes=name), self._cipher.decrypt(nonce, sealed[_HEAD_BYTES:], self._bound(name))
        except InvalidTag:
            return None

    def _bound(self, name: bytes) -> bytes:
        return b"%b %d %b" % (_VERSION, self._key_id, name)
