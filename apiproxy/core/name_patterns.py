"""Names with `*` for any characters."""


def matches_pattern(pattern: str, name: str) -> bool:
    """Match a pattern with `*` as the only wildcard.

    Not a regular expression: with several stars, a crafted name would take minutes.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return name == pattern
    if not name.startswith(first):
        return False
    at, last = len(first), parts.pop()
    for part in parts:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)
