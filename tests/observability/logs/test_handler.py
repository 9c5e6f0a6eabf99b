"""Logging: JSON lines in daily files, redaction, and protection against log injection."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind
from observability.logs import handler, log_files
from observability.logs.format import JsonLine
from observability.logs.handler import LineBuffer, Logging, configure
from observability.logs.log_files import DailyFile
from observability.logs.request_log import RequestLog
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Recorder
from observability.tracing.redact import Redactor
from tests.observability.builders import NOW, course, failed, make_turn, opening, refused
from tests.support.waiting import eventually

logger = logging.getLogger("tests.observability.logs")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Logging, io.StringIO]]]:
    """Function that configures logging; restores the previous state afterwards."""
    root = logging.getLogger()
    before, level, started = list(root.handlers), root.level, list[Logging]()
    levels = {name: logging.getLogger(name).level for name in handler._QUIET}

    def begin(*, level: str = "INFO", debug: bool = False, stream: io.StringIO | None = None, **more: Any) -> Any:
        stream = stream or io.StringIO()
        started.append(configure(level, tmp_path, debug, stream=stream, **more))
        return started[-1], stream

    yield begin
    for state in started:
        state.stop()
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def today(folder: Path) -> list[dict[str, Any]]:
    path = folder / f"proxy-{datetime.now(UTC):%Y-%m-%d}.log"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_write_one_json_line_to_stderr_and_day_file(start: Any, tmp_path: Path) -> None:
    state, stream = start()
    logger.info("proxy.tried", extra={"answer": 42, "nested": {"a": [1, None, True]}})
    logging.getLogger("of.another").warning("also.tried", extra={"big": 2**70})
    state.stop()

    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert written == today(tmp_path)
    first, second = written
    assert list(first)[:3] == ["ts", "level", "event"]
    assert (first["event"], first["level"], first["answer"], first["nested"]) == (
        "proxy.tried", "info", 42, {"a": [1, None, True]},
    )  # fmt: skip
    assert abs(datetime.fromisoformat(first["ts"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert (second["event"], second["level"], second["big"]) == ("also.tried", "warning", 2**70)


def test_escape_line_breaks_and_cursor_codes_of_client(start: Any, tmp_path: Path) -> None:
    evil = 'x\n{"level":"info","event":"forged"}\r\x1b[2J\x1b]0;title\x07\u2028\u202e\x9b31m\x00'
    terminal = Terminal()
    state, _ = start(stream=terminal)
    logger.info("event %s", evil, extra={"userAgent": evil, "keys": {evil: evil}})
    state.stop()

    (line,) = today(tmp_path)
    assert "forged" in line["userAgent"]
    raw = (tmp_path / f"proxy-{datetime.now(UTC):%Y-%m-%d}.log").read_text()
    shown = terminal.getvalue()
    assert raw.count("\n") == shown.count("\n") == 1
    for text in (raw, json.dumps(line, ensure_ascii=False)):
        for character in "\x1b\r\u2028\u202e\x9b\x00\x07":
            assert character not in text
    for sequence in ("\x1b[2J", "\x1b]0;", "\r", "\x9b", "\u2028", "\u202e", "\x07"):
        assert sequence not in shown


def test_colour_lines_on_terminal_only(start: Any, tmp_path: Path) -> None:
    terminal = Terminal()
    state, _ = start(stream=terminal)
    logger.warning("proxy.tried", extra={"answer": 42})
    state.stop()

    assert "\x1b[" in terminal.getvalue()
    assert "proxy.tried" in terminal.getvalue()
    assert today(tmp_path)[0]["answer"] == 42


def test_keep_traceback_in_one_line_without_locals(start: Any, tmp_path: Path) -> None:
    state, stream = start(redactor=Redactor(["hunter2-hunter2"]))
    password_in_a_local = "another-local-value"
    try:
        raise ValueError(f"key sk-ant-abcdefghijklmnop and hunter2-hunter2 {len(password_in_a_local)}")
    except ValueError:
        logger.exception("went.wrong")
    state.stop()

    (line,) = today(tmp_path)
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    for secret in ("sk-ant-", "hunter2-hunter2", "another-local-value"):
        assert secret not in line["exception"].replace('password_in_a_local = "another-local-value"', "")
        assert secret not in stream.getvalue().replace("another-local-value", "")


def test_secrets_are_taken_out_of_every_field(start: Any, tmp_path: Path) -> None:
    state, _ = start(redactor=Redactor(["known-secret-value"]))
    logger.info(
        "calling https://u:pw123456@host/ with %s", "sk-ant-abcdefghijklmnop",
        extra={"headers": {"Authorization": "Bearer abcdef"}, "note": "known-secret-value", "apiKey": "plain"},
    )  # fmt: skip
    state.stop()

    raw = json.dumps(today(tmp_path))
    for secret in ("sk-ant-", "pw123456", "abcdef", "known-secret-value", "plain"):
        assert secret not in raw


def test_obey_level_unless_debug(start: Any, tmp_path: Path) -> None:
    state, _ = start(level="WARNING")
    logger.info("not.seen")
    logger.warning("seen")
    state.stop()
    assert [line["event"] for line in today(tmp_path)] == ["seen"]

    state, _ = start(level="WARNING", debug=True)
    logger.debug("seen.too")
    logging.getLogger("httpx").info("noise")
    state.stop()
    assert [line["event"] for line in today(tmp_path)] == ["seen", "seen.too"]


def test_drop_and_count_lines_when_queue_is_full() -> None:
    buffer = LineBuffer(3)
    for number in range(5):
        buffer.handle(logging.makeLogRecord({"msg": f"line {number}"}))

    assert buffer.dropped == 2
    assert [record.msg for record in buffer.take()] == ["line 0", "line 1", "line 2"]
    assert buffer.take() == []


def test_survive_folder_that_cannot_be_written(start: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stream = io.StringIO()
    state = configure("INFO", tmp_path / "file" / "logs", False, stream=stream)
    logger.info("one")
    logger.info("two")
    eventually(lambda: all(f'"{text}"' in stream.getvalue() for text in ("one", "two")))
    # What another test left running may log too.
    eventually(lambda: state.lost == stream.getvalue().count("\n") >= 2)
    state.stop()


def test_start_new_file_each_day_and_delete_old_ones(tmp_path: Path) -> None:
    for age in (1, 13, 15, 400):
        day = datetime.now(UTC) - timedelta(days=age)
        (tmp_path / f"proxy-{day:%Y-%m-%d}.log").write_text("old\n")
    (tmp_path / "notes.txt").write_text("somebody else's")
    file = DailyFile(tmp_path)
    yesterday, now = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)
    for at, lines in ((yesterday, ["late"]), (now, ["first", "second"])):
        file.append(f"{at:%Y-%m-%d}", lines)
    file.close()

    assert (tmp_path / f"proxy-{yesterday:%Y-%m-%d}.log").read_text() == "old\nlate\n"
    path = tmp_path / f"proxy-{now:%Y-%m-%d}.log"
    assert path.read_text() == "first\nsecond\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(log_files.list_files(tmp_path)) == 3
    assert (tmp_path / "notes.txt").exists()


def test_limit_size_of_days_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "MAX_FILE_BYTES", 20)
    file = DailyFile(tmp_path)
    for _ in range(5):
        file.append(f"{datetime.now(UTC):%Y-%m-%d}", ["eight ch"])
    file.close()

    (path,) = tmp_path.iterdir()
    assert (path.stat().st_size, file.lost) == (18, 3)


@pytest.mark.parametrize(
    "name", ["proxy-2026-01-02.log\n", "proxy-2026-1-2.log", "../proxy-2026-01-02.log", "", "proxy-2026-01-02.log.gz"]
)
def test_accept_only_names_of_log_files(name: str, tmp_path: Path) -> None:
    assert not log_files.is_log_name(name)
    with pytest.raises(ValueError):  # noqa: PT011 - the name is all there is to say
        log_files.tail(tmp_path, name, 10)


def test_log_each_step_with_id_and_no_prompt_text(start: Any, tmp_path: Path) -> None:
    state, _ = start(debug=True)
    recorder = Recorder([RequestLog()], names=ModelNames())
    words = "secret words of the client"
    turns = [make_turn(body={"messages": [{"role": "user", "content": words}]}) for _ in range(4)]
    endings = [None, failed(kind=FailureKind.STALL, message=words), refused(), failed(message=words)]
    for turn, ending in zip(turns, endings, strict=True):
        for event in [refused()] if ending == endings[2] else course(ending=ending):
            recorder.on_event(turn, event)
    silent = make_turn()
    for event in opening():
        recorder.on_event(silent, event)
    recorder.count_stalls(NOW + 60)
    state.stop()

    by_request = {turn.id: [line["event"] for line in today(tmp_path) if line["reqId"] == turn.id] for turn in turns}
    steps = ["trace.created", "queue.acquired", "worker.ready", "request.first_token"]
    assert list(by_request.values()) == [
        [*steps, "request.completed"],
        [*steps, "request.stall_timeout"],
        ["request.refused"],
        [*steps, "request.error"],
    ]
    assert [line["event"] for line in today(tmp_path) if line["reqId"] == silent.id][-1] == "request.stalled"
    assert words not in (tmp_path / f"proxy-{datetime.now(UTC):%Y-%m-%d}.log").read_text()


_VALUES = [
    "plain", "sk-ant-abcdefghijklmnop", "line\nsk-ant-abcdefghijklmnop", "a\\nsk-ant-abcdefghijklmnop", "\ud800",
    'quoted "secret": "abcdefgh"', "known\"value\\of\nours", "x" * 50_000, "\x1b[2J", "\u202e", 2**70, float("nan"),
    b"bytes", datetime(2026, 1, 1, tzinfo=UTC), {"apiKey": "abcdefgh"}, {1: ["Bearer abcdefgh"]}, None, True,
]  # fmt: skip


@given(st.lists(st.sampled_from(_VALUES), max_size=4))
def test_redact_the_same_on_fast_and_slow_path(values: list[Any]) -> None:
    fields = {f"field{number}": value for number, value in enumerate(values)}
    record = logging.makeLogRecord({"msg": "event", "created": NOW, **fields})
    line = JsonLine(Redactor(['known"value\\of\nours'])).format(record)

    assert json.loads(line)["event"] == "event"
    for text in ("sk-ant-", "abcdefgh", "value\\\\of", "\x1b", "\u202e", "\n"):
        assert text not in line
    assert len(line) < 70_000


def test_log_line_with_mismatched_arguments(start: Any, tmp_path: Path) -> None:
    class Wild:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    state, _ = start()
    logger.info("one %s and %s", "argument")
    logger.info("unprintable", extra={"wild": Wild()})
    logger.info("after")
    state.stop()

    assert [line["event"] for line in today(tmp_path)] == ["one %s and %s ('argument',)", "after"]
    assert state.lost == 1


def test_keeps_the_lock_that_handlers_take_since_python_3_13() -> None:
    lock = LineBuffer().lock

    assert lock is not None
    with lock:  # as in `logging.Handler.handle`; if it is None, nothing is logged and the start hangs
        pass
