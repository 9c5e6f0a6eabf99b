"""A worker's pipes: bounded lines, and a process that is held at each write until it was heard."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.engines.sdk.pipes import LINE_BYTES, LONG_LINE_BYTES, Lines, StderrBackpressure, open_reader
from tests.support.waiting import eventually


@given(st.lists(st.binary(max_size=20)))
def test_lines_are_what_split_gives(chunks: list[bytes]) -> None:
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    *ended, _ = b"".join(chunks).split(b"\n")
    assert found == [line.decode(errors="replace") for line in ended if line]


def test_keep_only_start_of_line() -> None:
    lines = Lines()
    assert lines.feed(b"a" * LINE_BYTES + b"b") == []
    assert lines.long is None
    assert lines.feed(b"b" * LONG_LINE_BYTES) == []
    assert lines.long == "a" * LINE_BYTES
    assert lines.feed(b"\nc\n") == ["a" * LINE_BYTES, "c"]
    assert lines.long is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the hold is the Linux kernel's")
async def test_hold_a_process_at_each_write(tmp_path: Path) -> None:
    passed = tmp_path / "passed"
    script = f"echo one >&2; echo x >> {passed}; echo two >&2; echo x >> {passed}; read line"
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", f"read start; {script}", stdin=asyncio.subprocess.PIPE, stderr=write_end
    )
    os.close(write_end)
    reader, transport = await open_reader(read_end)
    brake = StderrBackpressure(process.pid, read_end=read_end, send_signal=process.send_signal)
    assert process.stdin is not None
    try:
        process.stdin.write(b"go\n")
        for count, said in enumerate((b"one\n", b"two\n")):
            assert await reader.read(100) == said
            await asyncio.to_thread(eventually, lambda: _state(process.pid) == "T")
            assert (passed.read_text() if count else "") == "x\n" * count
            brake.release(4)
        await asyncio.to_thread(eventually, lambda: passed.read_text() == "x\nx\n")
    finally:
        brake.cancel()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        transport.close()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
