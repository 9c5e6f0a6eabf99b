"""Text from outside made fit to be stored and shown."""

_UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def storable(text: str, limit: int) -> str:
    """The text, at most `limit` characters, without NUL (PostgreSQL refuses it) and lone surrogates (no UTF-8)."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.translate(_UNSTORABLE)
