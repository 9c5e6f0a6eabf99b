"""Free-form (`custom`) tools as functions with one string parameter, and their calls."""

import json
import re
from collections.abc import Mapping
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.core.message import UnparsedInput, tool_input

PARAMETER = "input"
SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {PARAMETER: {"type": "string"}}, "required": [PARAMETER]}

_USE = f"The text goes into the parameter `{PARAMETER}` as it is."
_OPENING = re.compile(r'\s*\{\s*"' + PARAMETER + r'"\s*:\s*"')
_MAX_OPENING_CHARS = 64
_COMPLETE = re.compile(r'(?:[^"\\]|\\u.{4}|\\[^u])*+', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def description(text: str | None, form: Mapping[str, Any] | None) -> str:
    """Description of the function for a free-form tool.

    form: the tool's `format`, of either API.
    """
    grammar = (form or {}).get("grammar", form) or {}
    parts = [text, _USE]
    if isinstance(grammar, Mapping) and isinstance(grammar.get("definition"), str):
        parts.append(f"It has to match this grammar ({grammar.get('syntax')}):\n{grammar['definition']}")
    return "\n\n".join(part for part in parts if part)


def free_form_input(arguments: object) -> str:
    """Input of a call: the text, or the arguments as JSON if the model did not give it as such."""
    if isinstance(arguments, UnparsedInput) and _OPENING.match(arguments.text):  # cut off
        decoder = FreeFormDecoder()
        return decoder.decode(arguments.text) + decoder.finish()
    if isinstance(arguments, Mapping):
        value = arguments.get(PARAMETER)
        if isinstance(value, str):
            return value
    return dumps(arguments).decode() if arguments else ""


class FreeFormDecoder:
    """Decodes the text of a call from its arguments as they are streamed.

    The pieces together are what `free_form_input` returns for the whole arguments.
    """

    def __init__(self) -> None:
        self._before: str | None = ""
        self._other: list[str] = []
        self._rest = ""
        self._ended = False

    def decode(self, fragment: str) -> str:
        """Decode a fragment of the JSON; the result may be empty."""
        if self._ended:
            return ""
        if self._other:
            self._other.append(fragment)
            return ""
        if self._before is not None:
            self._before += fragment
            opening = _OPENING.match(self._before)
            if opening is None:
                if len(self._before) > _MAX_OPENING_CHARS:
                    self._other.append(self._before)
                return ""
            fragment, self._before = self._before[opening.end() :], None
        return self._text(fragment)

    def finish(self) -> str:
        """Decode the rest, once the arguments are complete."""
        if self._before is None:
            return self._rest if _SURROGATE.fullmatch(self._rest) else ""
        whole = "".join(self._other) or self._before
        return free_form_input(tool_input(whole)) if whole.strip() else ""

    def _text(self, fragment: str) -> str:
        raw = self._rest + fragment
        complete = _COMPLETE.match(raw)
        end = complete.end() if complete is not None else 0
        self._ended = raw.startswith('"', end)
        text, self._rest = _unescaped(raw[:end]), "" if self._ended else raw[end:]
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if text and "\ud800" <= text[-1] <= "\udbff" and not self._ended:
            # The first half of a pair, whose second half comes with the next fragment.
            self._rest = text[-1] + self._rest
            text = text[:-1]
        return text


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except ValueError:
        return raw  # no valid escape, which the whole arguments are no JSON with either
    return text
