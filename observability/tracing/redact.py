"""Redaction of stored and logged text: credentials always, prompt quotes by default."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apiproxy.core.text import storable
from observability.tracing.prompt_masking import Prompt

MASK = "[redacted]"

MAX_TEXT_CHARS = 16_384
"""Maximum length of a string."""

MAX_BODY_TEXT_CHARS = 1_000_000
"""Maximum length of a string in a stored body."""

_MAX_DEPTH = 8
_MAX_BODY_DEPTH = 64
_MAX_ITEMS = 200
_MIN_SECRET_CHARS = 6

_SECRET_NAME = re.compile(
    r"(?i)authorization|cookie|password|passwd|secret|credential|private[_-]?key|api[_-]?key|access[_-]?key"
    r"|(?<!max_)(?<!max-)token(?!s)"
)
_LAST = r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
# Credential patterns and replacements. Every repetition is bounded or fails at once, else a long text takes seconds.
_START = r"(?:\b|(?<=\\[nrt]))"  # start of a word, possibly after a line end escaped in JSON
PATTERNS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?" + _LAST, re.S), MASK),
    (re.compile(rf"(?i){_START}((?:bearer|basic)\s{{1,8}})[A-Za-z0-9._~+/=-]{{4,}}"), rf"\1{MASK}"),
    (re.compile(_START + r"(?:sk|pk|rk|ghp|gho|ghs|xox[a-z])[-_][A-Za-z0-9_-]{8,}"), MASK),
    (re.compile(_START + r"github_pat_\w{20,}"), MASK),
    (re.compile(_START + r"(?:AKIA|ASIA|ABSK)[A-Za-z0-9+/=]{12,}"), MASK),
    (re.compile(_START + r"AIza[A-Za-z0-9_-]{30,}"), MASK),
    (re.compile(_START + r"ya29\.[A-Za-z0-9_-]+"), MASK),
    (re.compile(_START + r"eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (re.compile(r"(?<=://)[^/\s:@]{1,200}:[^/\s@]{1,500}(?=@)"), MASK),
    # pydantic error messages quote the input.
    (re.compile(r"input_value=.*?(?=, input_type=|\Z)", re.S), f"input_value={MASK}"),
    (
        re.compile(
            r"(?i)((?:authorization|cookie|password|passwd|secret|credential|api[_-]?key|access[_-]?key"
            r"|(?:auth|session|access|refresh)[_-]?token)[\w-]{0,40}[\"']?\s{0,8}[:=]\s{0,8})"
            r"(?:\"[^\"\n]*\"|'[^'\n]*'|(?!\[redacted\])[^\s,;\"'}&]+)"
        ),
        rf"\1{MASK}",
    ),
)

# Cheap prefilter: most texts contain none of these. As one regular expression it took a hundred times as long.
_NAMES = (
    ("api", "key"), ("access", "key"), ("auth", "token"), ("session", "token"), ("access", "token"),
    ("refresh", "token"),
)  # fmt: skip
_MARKS = (
    "bearer", "basic", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "ghp_", "ghp-", "gho_", "gho-", "ghs_", "ghs-", "xox",
    "github_pat", "akia", "asia", "absk", "aiza", "ya29", "eyj", "://", "input_value=", "private", "authorization",
    "cookie", "passw", "secret", "credential",
    *(f"{one}{joint}{other}" for one, other in _NAMES for joint in ("", "_", "-")),
)  # fmt: skip


class Redactor:
    """Masks known secrets and anything that looks like a credential.

    secrets: values matched literally (upstream credential, key from the environment); those shorter than
    `_MIN_SECRET_CHARS` are ignored, since they would match everywhere.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])}  # JSON-escaped form
        known = sorted((form for form in forms if len(form) >= _MIN_SECRET_CHARS), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def may_contain_secret(self, text: str) -> bool:
        """True if the text may contain a secret; fast, with false positives but no false negatives."""
        folded = text.lower()
        if any(mark in folded for mark in _MARKS) or folded.count("token") > folded.count("tokens"):
            return True
        return self._known is not None and self._known.search(text) is not None

    def text(self, text: str, *, prompt: Prompt | None = None, limit: int = MAX_TEXT_CHARS) -> str:
        """Mask credentials and prompt quotes; at most `limit` characters are kept."""
        # Cut before matching, else the patterns take seconds on megabytes. The final cut is below.
        text = text[: 2 * limit]
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if self.may_contain_secret(text):
            for pattern, replacement in PATTERNS:
                text = pattern.sub(replacement, text)
        if prompt is not None:
            text = prompt.remove_from(text)
        return storable(text, limit)

    def value(self, value: object, *, prompt: Prompt | None = None, depth: int = 0) -> Any:
        """JSON value of the same shape with redacted strings; values of secret-looking names are masked."""
        if isinstance(value, str):
            return self.text(value, prompt=prompt)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= _MAX_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            items = list(value.items())[:_MAX_ITEMS]
            return {
                self.text(str(name), prompt=prompt, limit=200): self._named(str(name), item, prompt, depth + 1)
                for name, item in items
            }
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
            return [self.value(item, prompt=prompt, depth=depth + 1) for item in list(value)[:_MAX_ITEMS]]
        return self.text(str(value), prompt=prompt)

    def body(self, value: object, *, depth: int = 0) -> Any:
        """Stored request body or answer, complete except for credentials."""
        if isinstance(value, str):
            return self.text(value, limit=MAX_BODY_TEXT_CHARS)
        if depth >= _MAX_BODY_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {
                storable(str(name), 200): MASK
                if isinstance(item, str) and _SECRET_NAME.search(str(name))
                else self.body(item, depth=depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.body(item, depth=depth + 1) for item in value]
        return value

    def _named(self, name: str, value: object, prompt: Prompt | None, depth: int) -> Any:
        if _SECRET_NAME.search(name) and isinstance(value, str | bytes | Sequence | Mapping):
            return MASK
        return self.value(value, prompt=prompt, depth=depth)
