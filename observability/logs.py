"""Logs: one JSON object a line to stderr and to a file a day; a terminal gets a coloured form for people.

Every logger of the process takes part, whether it is one of `logging` or of `structlog`. What a line costs its author
is a record in a bounded queue: a thread formats, redacts and writes. A field `reqId` bound with
`structlog.contextvars.bind_contextvars(reqId=…)` is in every line of that context.
"""

import atexit
import json
import logging
import logging.handlers
import queue
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from observability.logfiles import RETENTION_DAYS, DailyFileHandler
from observability.redact import Redactor

MAX_QUEUED_LINES = 10_000
_STOP_S = 5.0
_MAX_LINE_TEXT_CHARS = 8_000
_CONTEXT = "_log_context"
_FIRST = ("ts", "level", "event", "reqId")
_DROPPED_EXTRAS = ("request", "server_time", "taskName", _CONTEXT)
_QUIET = ("asyncio", "daphne", "django.channels.server", "httpx", "httpcore", "urllib3")

# Escapes that a terminal obeys, line ends that are not \n, and marks that turn the direction of writing.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPED_BUT_LINES = {code: text for code, text in _ESCAPED.items() if code not in (0x09, 0x0A)}


class BoundedQueueHandler(logging.handlers.QueueHandler):
    """Hands records on without waiting: what finds the queue full is dropped and counted."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Notes what is bound in this context, which the thread that writes does not see."""
        setattr(record, _CONTEXT, structlog.contextvars.get_contextvars())
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Puts the record in the queue."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Listener(logging.handlers.QueueListener):
    def enqueue_sentinel(self) -> None:
        self.queue.put(None, timeout=_STOP_S)  # type: ignore[attr-defined]  # the queue is ours, and can wait


class Logging:
    """The logging of this process, as `configure` set it up."""

    def __init__(self, *, handler: BoundedQueueHandler, listener: _Listener, file: DailyFileHandler) -> None:
        self._handler = handler
        self._listener: _Listener | None = listener
        self._file = file

    @property
    def lost(self) -> int:
        """Lines that are in no file: dropped because the queue was full, or refused by the disk."""
        return self._handler.dropped + self._file.lost

    def stop(self) -> None:
        """Writes what is queued, and goes back to plain lines on stderr. May be called twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.addHandler(logging.lastResort or logging.StreamHandler())
        try:
            listener.stop()
        except queue.Full:  # the disk hangs: the process must end all the same
            return
        self._file.close()


def configure(
    level: str,
    log_dir: Path,
    debug: bool,
    *,
    redactor: Redactor | None = None,
    stream: TextIO | None = None,
    retention_days: int = RETENTION_DAYS,
) -> Logging:
    """Takes over the logging of the whole process. debug logs everything, whatever the level."""
    stream = stream or sys.stderr
    redactor = redactor or Redactor()
    console = logging.StreamHandler(stream)
    console.setFormatter(_formatter(redactor, terminal=stream.isatty()))
    file = DailyFileHandler(log_dir, retention_days=retention_days)
    file.setFormatter(_formatter(redactor, terminal=False))
    lines: queue.Queue[Any] = queue.Queue(MAX_QUEUED_LINES)
    handler = BoundedQueueHandler(lines)
    listener = _Listener(lines, console, file)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    _configure_structlog()
    listener.start()
    state = Logging(handler=handler, listener=listener, file=file)
    atexit.register(state.stop)
    return state


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _formatter(redactor: Redactor, *, terminal: bool) -> structlog.stdlib.ProcessorFormatter:
    processors: list[Processor] = [
        _add_origin,
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _cleaner(redactor, terminal=terminal),
        _order,
        _console() if terminal else _to_json,
    ]
    return structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=[structlog.stdlib.ExtraAdder()])


def _add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds what the record knows: when, how severe, who, and the context that it was written in."""
    record: logging.LogRecord = event["_record"]
    for name in _DROPPED_EXTRAS:
        event.pop(name, None)
    for name, value in getattr(record, _CONTEXT, {}).items():
        event.setdefault(name, value)
    event["ts"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


def _cleaner(redactor: Redactor, *, terminal: bool) -> Processor:
    """Takes secrets out of every value, and control characters out of every text."""

    table = _ESCAPED if terminal else _ESCAPED_BUT_LINES

    def escape(value: object) -> object:
        if isinstance(value, str):
            return value.translate(table)
        if isinstance(value, dict):
            return {name.translate(table): escape(item) for name, item in value.items()}
        return [escape(item) for item in value] if isinstance(value, list) else value

    def clean_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        trace = event.pop("exception", None)
        cleaned = {name: escape(value) for name, value in redactor.value(dict(event)).items()}
        if trace is not None:
            cleaned["exception"] = redactor.text(trace, limit=_MAX_LINE_TEXT_CHARS).translate(_ESCAPED_BUT_LINES)
        return cleaned

    return clean_event


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first: dict[str, Any] = {name: event[name] for name in _FIRST if name in event}
    return first | dict(event)


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # a number that orjson cannot write: one of more than 64 bits
        return json.dumps(event, default=str)


def _console() -> Callable[[WrappedLogger, str, EventDict], str]:
    return structlog.dev.ConsoleRenderer(
        colors=True, timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )
