"""Sanitizing of external text."""

_UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def storable(text: str, limit: int) -> str:
    """Truncate a text and replace characters that cannot be stored.

    Those are NUL (rejected by PostgreSQL) and lone surrogates (not valid UTF-8).
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.translate(_UNSTORABLE)
