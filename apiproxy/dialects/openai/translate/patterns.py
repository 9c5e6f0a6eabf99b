"""Regular expressions in JSON schemas: which of them structured outputs take."""

import re

_MAX_CHARS = 1_000
_MAX_REPETITIONS = 100
_MAX_PRODUCT = 10_000
_NOTABLE = re.compile(r"\\(?P<escape>.)|(?P<group>\(\?(?!:))|\{(?P<least>\d{1,9})(?:,(?P<most>\d{0,9}))?\}", re.DOTALL)
_UNSUPPORTED_ESCAPES = frozenset("123456789kbBGpP")


def is_supported_pattern(pattern: object) -> bool:
    """True unless the API rejects the pattern.

    Rejected are backreferences, lookaround, word boundaries and large ranges, and here also what other dialects add:
    named groups, flags, Unicode classes. Source: the platform's page on structured outputs, "Pattern support".
    """
    if not isinstance(pattern, str) or len(pattern) > _MAX_CHARS:
        return False
    product = 1
    for match in _NOTABLE.finditer(pattern):
        if match["group"] or match["escape"] in _UNSUPPORTED_ESCAPES:
            return False
        if match["least"]:
            repetitions = max(int(match["least"]), int(match["most"] or 0), 1)
            product *= repetitions
            if repetitions > _MAX_REPETITIONS or product > _MAX_PRODUCT:
                return False
    return True
