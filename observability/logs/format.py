"""Log line formatters (JSON and console) with redaction and escaping of control characters."""

import json
import logging
import os
import re
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from observability.tracing.redact import Redactor

_MAX_LINE_CHARS = 8_000
_EVENT_CHARS = 26
_OWN_LOGGERS = ("apiproxy.", "observability.", "proxy_site.")
_MAX_TRACEBACK_CHARS = 8_000
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_OWN |= {"request", "server_time"}  # objects that Django adds

# Terminal control characters, line ends other than \n, and bidirectional text marks.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPED_BUT_LINES = {code: text for code, text in _ESCAPED.items() if code not in (0x09, 0x0A)}
_CONTROL = re.compile("[" + "".join(re.escape(chr(code)) for code in _CONTROLS if code >= 0x7F) + "]")


class JsonLine:
    """JSON formatter: `ts`, `level`, `event`, the extra fields, `logger` and, for errors, `exception`."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Format without line end.

        Most lines need no redaction: checking the finished JSON costs a tenth of checking every field.
        """
        fields = fields_of(record)
        try:
            line = orjson.dumps(fields).decode()
        except TypeError:
            line = ""  # not JSON-serializable: converted below
        if not 0 < len(line) <= _MAX_LINE_CHARS or self._redactor.may_contain_secret(line) or _CONTROL.search(line):
            return _dumps(cleaned(fields, self._redactor, terminal=False))
        return line


class ConsoleLine:
    """Console formatter, coloured unless NO_COLOR is set; tracebacks follow on separate lines.

    Shows the local time without date; omits empty fields and the names of our own loggers.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._render = structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ,
            timestamp_key="ts",
            pad_event_to=_EVENT_CHARS,
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        fields = cleaned(fields_of(record), self._redactor, terminal=True)
        fields["ts"] = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]  # noqa: DTZ006 - local
        if record.name.startswith(_OWN_LOGGERS):
            del fields["logger"]
        shown = {name: value for name, value in fields.items() if value not in ("", None) or name == "event"}
        return str(self._render(None, record.levelname.lower(), shown))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Fields of a record in output order."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {
        "ts": at.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **{name: value for name, value in record.__dict__.items() if name not in _OWN},
    }
    fields["logger"] = record.name
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return fields


def cleaned(fields: dict[str, Any], redactor: Redactor, *, terminal: bool) -> dict[str, Any]:
    """Redacted and escaped fields. Line ends are kept in JSON and in tracebacks."""
    table = _ESCAPED if terminal else _ESCAPED_BUT_LINES
    trace = fields.pop("exception", None)
    safe = {name.translate(table): _escaped(value, table) for name, value in redactor.value(fields).items()}
    if trace is not None:
        safe["exception"] = redactor.text(str(trace), limit=_MAX_TRACEBACK_CHARS).translate(_ESCAPED_BUT_LINES)
    return safe


def _escaped(value: object, table: dict[int, str]) -> object:
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, dict):
        return {name.translate(table): _escaped(item, table) for name, item in value.items()}
    return [_escaped(item, table) for item in value] if isinstance(value, list) else value


def _dumps(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(fields)
