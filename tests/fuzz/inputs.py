"""Hypothesis strategies of inputs: broken bodies, headers, addresses, bytes."""

import copy
import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.fuzz.exchange import Request

MODEL = "claude-haiku-4-5"
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"$ref": "#/$defs/day"}}},
    "required": ["city"],
    "$defs": {"day": {"enum": ["mon", "tue"]}},
}
_MESSAGES: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 64,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"a": 1}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sun"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}, "title": "A"},
                {"type": "text", "text": "[[n=2]]"},
            ],
        },
    ],
    "tools": [{"name": "weather", "description": "It tells.", "input_schema": _SCHEMA}],
    "tool_choice": {"type": "auto"},
    "temperature": 0.5,
    "stop_sequences": ["END"],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "user_ab_account_cd_session_ef"},
    "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
}
_CHAT: dict[str, Any] = {
    "model": MODEL,
    "max_completion_tokens": 64,
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PIXEL}"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,aGVsbG8=", "filename": "a.txt"}},
                {"type": "text", "text": "[[n=2]]"},
            ],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": _SCHEMA, "strict": True}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": _SCHEMA, "strict": True}},
    "reasoning_effort": "low",
    "temperature": 0.5,
    "stop": ["END"],
    "n": 1,
    "seed": 7,
    "user": "somebody",
    "metadata": {"a": "b"},
    "stream_options": {"include_usage": True},
}
_RESPONSES: dict[str, Any] = {
    "model": MODEL,
    "max_output_tokens": 64,
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {"type": "reasoning", "summary": [], "encrypted_content": "e30="},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]},
        {"role": "user", "content": "[[n=2]]"},
    ],
    "tools": [{"type": "function", "name": "weather", "parameters": _SCHEMA, "strict": True}],
    "text": {"format": {"type": "json_schema", "name": "w", "schema": _SCHEMA}},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": True,
    "previous_response_id": "resp_none",
}
_SMALL: dict[str, Any] = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "[[n=1]]"}]}
GOOD: list[tuple[bytes, dict[str, Any]]] = [
    (b"/v1/messages", _MESSAGES),
    (b"/v1/messages", _SMALL),
    (b"/v1/messages/count_tokens", _MESSAGES),
    (b"/v1/chat/completions", _CHAT),
    (b"/v1/chat/completions", _SMALL),
    (b"/v1/responses", _RESPONSES),
    (b"/v1/responses", {"model": MODEL, "input": "[[n=1]]"}),
]

_NASTY_TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e\u2028", "\x1b[2J", "x" * 5_000, "🏳️‍🌈" * 50, "null",
    "[[n=]]", "../../etc/passwd", "@/etc/hostname", "<script>alert(1)</script>", "'; DROP TABLE x; --", "{{7*7}}",
    "%s%n", "\r\nx: y", "data:image/png;base64,!!!", "http://[::1", "file:///etc/passwd", "data:" + "," * 300,
    "__proto__", "$ref",
]  # fmt: skip
_NASTY: list[Any] = [
    *_NASTY_TEXTS, None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400, 0.0,
    -0.0, 1e308, 5e-324, [], {}, [[]], [{}], {"": ""}, {"\x00": 1}, {"type": "text"}, {"type": None}, {"$ref": "#"},
    {"__proto__": {}}, [None] * 3, {"a": {"b": {"c": [1, {"d": None}]}}},
]  # fmt: skip
texts = st.one_of(st.sampled_from(_NASTY_TEXTS), st.text(max_size=40))
values = st.one_of(
    st.sampled_from(_NASTY),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=8,
    ),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of a JSON value but the whole."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, item in items:
        found += [(*path, name), *_places(item, (*path, name))]
    return found


@st.composite
def spoiled(draw: st.DrawFn, good: Any, *, most: int = 4) -> Any:
    """A copy with up to so many of its parts replaced, left out, doubled, wrapped or under another name."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, most))):
        places = _places(value)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        parent = value
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "wrap", "rename", "add"])):
            case "drop":
                del parent[last]
            case "double" if isinstance(parent, list):
                parent.insert(last, copy.deepcopy(parent[last]))
            case "wrap":
                parent[last] = draw(st.sampled_from([[parent[last]], {"type": parent[last]}, str(parent[last])]))
            case "rename" if isinstance(parent, dict):
                parent[draw(texts)] = parent.pop(last)
            case "add" if isinstance(parent, dict):
                parent[draw(texts)] = copy.deepcopy(draw(values))
            case _:
                parent[last] = copy.deepcopy(draw(values))
    return value


def encoded(value: Any) -> bytes:
    """JSON text of any value; lone surrogates as escapes."""
    return json.dumps(value).encode()


@st.composite
def bodies(draw: st.DrawFn) -> Request:
    """A good body with a few of its parts gone bad."""
    path, good = draw(st.sampled_from(GOOD))
    stream = draw(st.sampled_from([{}, {}, {"stream": True}, {"stream": False}]))
    body = draw(spoiled({**good, **stream}))
    return Request(b"POST", path, headers=((b"content-type", b"application/json"),), body=encoded(body))


_FRAGMENTS = [
    b"NaN", b"-Infinity", b"1e999", b"0x10", b"9" * 400, b"'a'", b"\\ud800", b'"\\ud800"', b"\xff\xfe",
    b"\xef\xbb\xbf", b"\x00", b"{", b"}", b"[", b"]", b'"', b",", b":", b"/*", b"\\", b"[" * 2_000, b'{"a":' * 1_200,
    b"\xed\xa0\x80", b'"model":"x",',
]  # fmt: skip


@st.composite
def broken_bodies(draw: st.DrawFn) -> Request:
    """A good body's bytes, cut, doubled and with other bytes in between; some of it packed or under a wrong name."""
    path, good = draw(st.sampled_from(GOOD))
    data = encoded(good)
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        piece = draw(st.one_of(st.sampled_from(_FRAGMENTS), st.binary(max_size=8)))
        data = draw(st.sampled_from([data[:at] + piece + data[at:], data[:at] + piece + data[end:], data[:at]]))
    kind = draw(st.sampled_from([b"application/json", b"application/json; charset=utf-16", b"text/html", b"*/*", b""]))
    coding = draw(st.sampled_from([b"", b"gzip", b"identity", b"br, gzip"]))
    headers = ((b"content-type", kind), *(((b"content-encoding", coding),) if coding else ()))
    return Request(b"POST", path, headers=headers, body=data)


_HEADERS = [
    b"x-conversation-id", b"x-session-id", b"x-conversation-mode", b"anthropic-beta", b"anthropic-version",
    b"x-request-id", b"user-agent", b"traceparent", b"x-forwarded-for", b"x-forwarded-proto", b"accept",
    b"accept-encoding", b"content-type", b"authorization", b"x-api-key", b"cookie", b"origin", b"range",
    b"if-none-match", b"expect", b"upgrade", b"connection", b"te", b"daphne-root-path", b"x-http-method-override",
    b"hx-request", b"x-requested-with", b"forwarded", b"via",
]  # fmt: skip
_NASTY_VALUES = [
    b"", b"append", b"prepend", b"a,b,,c", b"\xff\xfe", b"\xc3\xa4\xf0\x9f\x98\x80", b"x" * 4_000, b"1.2.3.4, ::1",
    b"bytes=0-1", b"00-" + b"f" * 32 + b"-" + b"f" * 16 + b"-01", b"websocket", b"h2c", b"100-continue", b"Bearer ",
    b"Basic eDp5", b"%0d%0aX: y", b"sessionid=x; csrftoken='\"", b"null", b"https://evil.example", b"\t a \t",
    b"<svg/onload=alert(1)>", b"../..", b"\\x1b[2J",
]  # fmt: skip
_header_values = st.one_of(
    st.sampled_from(_NASTY_VALUES),
    st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\x00\r\n")),
)


_PLAIN: list[tuple[bytes, bytes, Any]] = [
    (b"POST", b"/v1/messages", _SMALL),
    (b"POST", b"/v1/messages/count_tokens", _SMALL),
    (b"POST", b"/v1/chat/completions", _SMALL),
    (b"GET", b"/v1/models", None),
    (b"GET", b"/v1/usage", None),
    (b"GET", b"/sessions", None),
]


@st.composite
def headers(draw: st.DrawFn) -> Request:
    """A good request under odd headers."""
    method, target, body = draw(st.sampled_from(_PLAIN))
    pairs = st.tuples(st.sampled_from(_HEADERS), _header_values)
    given = draw(st.lists(pairs, min_size=1, max_size=6))
    return Request(method, target, headers=tuple(given), body=b"" if body is None else encoded(body))


_PATHS = [
    "/", "/v1", "/v1/messages", "/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/",
    "/v1/chat/models", "/v1/messages/batches/", "/v1/chat/completions", "/v1/responses", "/v1/usage", "/sessions",
    "/sessions/cleanup", "/sessions/", "/healthz", "/readyz", "/openapi.json", "/debug/stats", "/debug/traces",
    "/debug/traces/", "/debug/errors", "/debug/errors/", "/debug/active", "/debug/active/x/cancel", "/debug/health",
    "/debug/logs", "/debug/logs/", "/metrics", "/debug", "/nothing",
]  # fmt: skip
_TAILS = [
    "", "%00", "%ff%fe", "..%2f..%2fetc%2fpasswd", "../x", "%2e%2e/%2e%2e", "a b", "%zz", "//", "\\..\\", "%ed%a0%80",
    "💥", "x" * 3_000, "%0d%0aset-cookie:%20a=b", ";a=b", "[", "~", "proxy-2026-01-01.log", "%F0%9F%92%A5",
]  # fmt: skip
_NAMES = [
    "limit", "before_id", "after_id", "lifecycle", "lifecycle[]", "days", "beta", "cursor", "since", "until", "tail",
    "level", "text", "key", "session", "status", "minDurationMs", "id", "model", "window", "span", "q", "file", "",
]  # fmt: skip
_METHODS = [
    b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"get", b"X",
]  # fmt: skip
_QUERY_VALUES = [
    "1", "0", "-1", "9" * 30, "9" * 5_000, "1e9", "٣", "nan", "2026-01-01T00:00:00Z", "9999-99-99", "1e400", "-" * 9,
    "0-0", "9" * 25 + "-1", "\x00", "é", "true", "error", "1.5", "%",
]  # fmt: skip


@st.composite
def addresses(draw: st.DrawFn, *, within: list[str] | None = None) -> Request:
    """Odd methods, paths and query strings."""
    path = draw(st.sampled_from(within or _PATHS)) + draw(
        st.one_of(st.sampled_from(_TAILS), st.text(max_size=8).map(_quoted))
    )
    names = st.one_of(st.sampled_from(_NAMES), st.text(max_size=5))
    query = draw(st.lists(st.tuples(names, st.one_of(st.sampled_from(_QUERY_VALUES), texts)), max_size=4))
    tail = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in query)
    target = quote(path, safe="/%~[];\\").replace("\\", "%5c") + (f"?{tail}" if tail else "")
    method = draw(st.sampled_from([b"GET", b"GET", *_METHODS]))
    return Request(method, target.encode(), body=draw(st.sampled_from([b"", b"", b"{}", b"x=1"])))


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


@st.composite
def wires(draw: st.DrawFn) -> list[bytes]:
    """The bytes of a good request, spoiled at the level of HTTP itself, in pieces."""
    path, good = draw(st.sampled_from(GOOD))
    body = encoded(good)
    good_length = b"content-length: %d" % len(body)
    lengths = [
        *[good_length] * 4, b"content-length: %d" % (len(body) - 5), b"content-length: 0", b"content-length: -1",
        b"content-length: 1e3", b"x: y", b"content-length: %d\r\ncontent-length: 3" % len(body),
        b"transfer-encoding: chunked", b"transfer-encoding: gzip", b"content-length: 99999999999999999999",
        b"content-length: %d\r\ntransfer-encoding: chunked" % len(body),
    ]  # fmt: skip
    data = b"POST %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n%s\r\n\r\n%s" % (
        path,
        draw(st.sampled_from(lengths)),
        body,
    )
    head_end = data.index(b"\r\n\r\n") + 4
    junk = st.one_of(
        st.sampled_from(
            [
                b"\r\n",
                b"\n",
                b"\r",
                b"\x00",
                b" ",
                b":",
                b"\t",
                b"HTTP/1.0",
                b"HTTP/2.0",
                b"a" * 20_000,
                b"\xff",
                b": :",
            ]
        ),
        st.binary(max_size=6),
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, head_end))
        end = at + draw(st.integers(0, 6))
        data = data[:at] + draw(junk) + data[end:]
    cut = draw(st.integers(1, len(data)))
    return draw(st.sampled_from([[data], [data[:cut], data[cut:]], [data[:cut]]]))
