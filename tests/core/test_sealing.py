"""Encryption with a key derived from the secret of an API key."""

from uuid import UUID

import pytest

from apiproxy.core.sealing import OVERHEAD_BYTES, Seal, derive_seal_key

MATERIAL = derive_seal_key("sk-proxy-mine")


def test_open_what_the_same_key_sealed() -> None:
    seal = Seal(MATERIAL, 7)
    name = seal.name("answer 1")
    sealed = seal.seal(name, b"secret text")
    assert Seal(MATERIAL, 7).open(sealed) == (name, b"secret text")
    assert b"secret" not in sealed
    assert len(sealed) == len(b"secret text") + OVERHEAD_BYTES
    assert seal.seal(name, b"secret text") != sealed


@pytest.mark.parametrize(
    "other", [Seal(derive_seal_key("sk-proxy-other"), 7), Seal(MATERIAL, 8)], ids=["secret", "key id"]
)
def test_open_nothing_of_another_key(other: Seal) -> None:
    seal = Seal(MATERIAL, 7)
    assert other.open(seal.seal(seal.name("a"), b"text")) is None


def test_open_nothing_that_was_changed() -> None:
    seal = Seal(MATERIAL, 7)
    sealed = seal.seal(seal.name("a"), b"text")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        assert seal.open(bytes(changed)) is None, at
    for length in range(len(sealed)):
        assert seal.open(sealed[:length]) is None
    assert seal.open(sealed + b"x") is None


def test_name_depends_on_the_secret() -> None:
    seal = Seal(MATERIAL, 7)
    assert isinstance(seal.name("call 1"), UUID)
    assert seal.name("call 1") == seal.name("call 1") != seal.name("call 2")
    assert seal.name("call 1") != Seal(derive_seal_key("sk-proxy-other"), 7).name("call 1")
    assert seal.name("\ud800") != seal.name("")
