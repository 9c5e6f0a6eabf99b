"""GET /dashboard/logs: tail of a log file, filtered by level and text."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, error_page, page, render_page, wants_fragment
from observability.logs import log_files

LEVELS = ("debug", "info", "warning", "error")
COUNTS = (100, 500, 2000)

_MAX_TEXT_CHARS = 200
_KNOWN = frozenset({"ts", "level", "event", "logger", "reqId", "exception"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A log line. If it is not JSON, `at` is None and `event` is the whole line."""

    at: datetime | None
    level: str
    event: str
    logger: str
    run_id: str
    fields: list[tuple[str, str]]
    exception: str


@page
async def log_tail(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """The page; for a script only the lines."""
    folder = ctx.service.config.log_dir
    files = await asyncio.to_thread(log_files.list_files, folder)
    name = request.GET.get("file", "") or (files[0].name if files else "")
    level, text = request.GET.get("level", ""), request.GET.get("q", "").strip()[:_MAX_TEXT_CHARS]
    count = request.GET.get("count", "")
    wanted = int(count) if count.isdecimal() and int(count[:6]) in COUNTS else COUNTS[0]
    found = log_files.Tail(total=0, lines=[])
    if name:
        try:
            found = await asyncio.to_thread(
                log_files.tail, folder, name, wanted, level=level if level in LEVELS else "", text=text
            )
        except (ValueError, FileNotFoundError):
            return error_page(request, 404, "Log file not found.")
    context: dict[str, Any] = {
        "title": "Logs",
        "files": files,
        "file": name,
        "level": level,
        "levels": LEVELS,
        "text": text,
        "count": wanted,
        "counts": COUNTS,
        "total": found.total,
        "lines": [log_line(line) for line in reversed(found.lines)],
        "folder": str(folder),
    }
    template = "_log_lines" if wants_fragment(request) else "logs"
    return await render_page(request, ctx, f"observability/{template}.html", context)


def log_line(line: str) -> LogLine:
    """Parse a line."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict):
        return LogLine(at=None, level="", event=line, logger="", run_id="", fields=[], exception="")
    return LogLine(
        at=_moment(entry.get("ts")),
        level=str(entry.get("level", "")),
        event=str(entry.get("event", "")),
        logger=str(entry.get("logger", "")),
        run_id=str(entry.get("reqId", "")),
        fields=[(name, _shown(value)) for name, value in entry.items() if name not in _KNOWN],
        exception=_shown(entry.get("exception", "")),
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
