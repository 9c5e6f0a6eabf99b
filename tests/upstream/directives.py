"""Directives in the last user text: `[[name=value]]` or `[[name]]`.

`[[name]]` is short for `[[name=1]]`.

Content (of n, say, echo, seen and huge the first given; thinking, blocks and tools go with any of them):
    [[n=50]]            50 text deltas `tok0 tok1 …`; 20 by default
    [[say=text]]        this text
    [[echo]]            the last user text with its directives
    [[seen]]            what the request contains, as JSON (`script.py`, which also has `[[then]]`)
    [[huge=1000000]]    one text delta of that many characters
    [[tool=NAME:{…}]]   a tool_use block; may repeat
    [[block={…}]]       any content block, literally; may repeat
    [[think=text]]      a thinking block with a signature before the rest
    [[redacted=data]]   a redacted thinking block before the rest
    [[cite=text]]       a citation of that text, on the text block
    [[stop=reason]]     the stop reason
    [[in=9]] [[out=9]]  tokens of the usage; [[read=9]] and [[write=9]] of the prompt cache
    [[dense]]           worst-case input tokens: one per byte of the body that counts
    [[usage={…}]]       exactly this `usage`, in message_start and in message_delta; any JSON value
Delivery:
    [[first=0.2]]       seconds before the answer starts
    [[gap=0.01]]        seconds after each delta
    [[ping=3]]          a ping after every third delta
    [[split=7]]         the stream in pieces of seven bytes
    [[drip=0.01]]       seconds after each of these pieces
Faults:
    [[status=529]]      this error; its details by [[message=text]], [[type=api_error]] and [[retry_after=1]]
    [[json={…}]]        the error's body is this JSON
    [[header=NAME:text]] a header of the error; may repeat
    [[html]]            the error's body is a web page
    [[bare]]            the error has no body
    [[page]]            a web page instead of the answer, with status 200
    [[whole]]           a JSON response instead of the event stream
    [[flaky=KEY:2:529]] this error for the first two requests with that key; instead of a status,
                        `drop` closes the connection, `silent` sends nothing, and `miderror` fails after one delta
    [[silent]]          nothing, not even headers
    [[headers]]         headers, then nothing
    [[hang]]            headers and message_start, then nothing
    [[midhang=9]]       nothing more after 9 deltas
    [[drop]]            the connection is closed before the headers
    [[cut=9]]           the connection is closed after 9 deltas
    [[miderror=9]]      an `error` event after 9 deltas, and the end; its details as for [[status]]
    [[garbage=9]]       an event that is not JSON after 9 deltas
    [[odd={…}]]         this JSON as an event after the first delta, unchecked
    [[raw=BASE64]]      these bytes instead of the stream; without one, the message that their events make
Unknown names are plain text.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from apiproxy.standin.prompt import InvalidRequestError

_OPENING = re.compile(r"\[\[(\w+)(?:=|(?=\]\]))")


Fault = int | Literal["drop", "silent", "miderror"]


class DirectiveError(InvalidRequestError):
    """A directive with an invalid value, named in the text."""


@dataclass(frozen=True, slots=True)
class Flaky:
    """Fault for the first `times` requests with `key`."""

    key: str
    times: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """Parsed directives; see the module. given: False if there are none."""

    given: bool = False
    n: int | None = None
    say: str | None = None
    echo: bool = False
    seen: bool = False
    huge: int | None = None
    tools: tuple[tuple[str, Any], ...] = ()
    blocks: tuple[Mapping[str, Any], ...] = ()
    think: str | None = None
    redacted: str | None = None
    cite: str | None = None
    stop: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    exact_usage: tuple[Any, ...] = ()
    """The value that replaces the usage, in a tuple; empty if absent, unlike `null`."""
    dense: bool = False
    first_s: float = 0.0
    gap_s: float | None = None
    ping: int = 0
    split: int = 0
    drip_s: float = 0.0
    status: int | None = None
    message: str | None = None
    type: str | None = None
    retry_after: str | None = None
    json: str | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    html: bool = False
    bare: bool = False
    page: bool = False
    whole: bool = False
    flaky: Flaky | None = None
    silent: bool = False
    headers: bool = False
    hang: bool = False
    midhang: int | None = None
    drop: bool = False
    cut: int | None = None
    miderror: int | None = None
    garbage: int | None = None
    odd: str | None = None
    raw: bytes | None = None


_FAULTS: Mapping[str, Fault] = {
    "drop": "drop",
    "silent": "silent",
    "miderror": "miderror",
}


def _flaky(value: str) -> Flaky:
    key, times, fault = value.split(":")
    return Flaky(key, int(times), _FAULTS.get(fault) or int(fault))


def _object(value: str) -> Mapping[str, Any]:
    read = json.loads(value)
    if not isinstance(read, dict):
        raise ValueError(f"{value!r} is not a JSON object")  # noqa: TRY004 — parse turns it into its own error
    return read


def _flag(value: str) -> bool:
    return value not in {"0", ""}


_USAGE = {
    "in": "input_tokens",
    "out": "output_tokens",
    "read": "cache_read_input_tokens",
    "write": "cache_creation_input_tokens",
}
_SIMPLE: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    **{name: (name, int) for name in ("n", "huge", "ping", "split", "status", "midhang", "cut", "miderror", "garbage")},
    **{
        name: (name, str)
        for name in ("say", "think", "redacted", "cite", "stop", "message", "type", "retry_after", "odd", "json")
    },
    **{
        name: (name, _flag)
        for name in ("echo", "seen", "html", "bare", "page", "whole", "silent", "headers", "hang", "drop")
    },
    "dense": ("dense", _flag),
    "first": ("first_s", float),
    "gap": ("gap_s", float),
    "drip": ("drip_s", float),
    "flaky": ("flaky", _flaky),
    "raw": ("raw", base64.b64decode),
    "usage": ("exact_usage", lambda value: (json.loads(value),)),
}
_JSON_NAMES = frozenset({"tool", "block", "usage", "json"})
_KNOWN = _JSON_NAMES | {"header"} | _SIMPLE.keys() | _USAGE.keys()


def parse(text: str) -> Directives:
    """Parse the directives of a text. Raises DirectiveError for an invalid value."""
    found: dict[str, Any] = {}
    usage: dict[str, int] = {}
    for name, value in _pairs(text):
        try:
            if name == "tool":
                tool_name, _, tool_input = value.partition(":")
                found["tools"] = (*found.get("tools", ()), (tool_name, json.loads(tool_input or "{}")))
            elif name == "block":
                found["blocks"] = (*found.get("blocks", ()), _object(value))
            elif name == "header":
                header, _, text = value.partition(":")
                found["response_headers"] = (*found.get("response_headers", ()), (header, text))
            elif name in _USAGE:
                usage[_USAGE[name]] = int(value)
            else:
                field_name, convert = _SIMPLE[name]
                found[field_name] = convert(value)
        except ValueError as error:
            raise DirectiveError(f"directive {name}: {error}") from error
    return Directives(given=bool(found or usage), usage=usage, **found)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while opening := _OPENING.search(text, position):
        name, position = opening[1], opening.end()
        if name in _KNOWN:
            end = _end_of_value(text, position, is_json=name in _JSON_NAMES)
            yield name, text[position:end] if opening[0].endswith("=") else "1"
            position = end


def _end_of_value(text: str, start: int, *, is_json: bool) -> int:
    """End of the value that starts there; JSON may contain `]]`."""
    end = text.find("]]", start)
    brace = text.find("{", start, end if end >= 0 else len(text)) if is_json else -1
    if brace >= 0:
        try:
            return json.JSONDecoder().raw_decode(text, brace)[1]
        except ValueError as error:
            raise DirectiveError(f"directive at {text[start - 8 : start + 40]!r}: {error}") from error
    return end if end >= 0 else len(text)
