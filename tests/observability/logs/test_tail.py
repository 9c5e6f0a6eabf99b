"""Tail of a log file: content, and the amount read."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.logs import log_files, tail


@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line), max_size=12), st.booleans())
def test_read_lines_from_end_across_any_block_boundary(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    expected = data.split(b"\n")[:-1] if data.endswith(b"\n") else data.split(b"\n") if data else []
    with tempfile.TemporaryFile(buffering=0) as file, pytest.MonkeyPatch.context() as patch:
        file.write(data)
        patch.setattr(tail, "_BLOCK_BYTES", 4)
        patch.setattr(tail, "_COUNT_BYTES", 3)
        assert list(tail.lines_from_end(file, len(data)))[::-1] == expected
        assert tail.LineCounts().count(file, len(data)) == len(expected)


def test_read_end_of_large_file_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "proxy-2026-01-02.log"
    path.write_text("".join(f'{{"level":"info","event":"line {number}"}}\n' for number in range(40_000)))
    read: list[int] = []
    pread = os.pread

    def watched(descriptor: int, count: int, at: int) -> bytes:
        read.append(count)
        return pread(descriptor, count, at)

    monkeypatch.setattr(os, "pread", watched)
    first = log_files.tail(tmp_path, path.name, 2)
    assert (first.total, [json.loads(line)["event"] for line in first.lines]) == (40_000, ["line 39998", "line 39999"])
    read.clear()
    with path.open("a") as file:
        file.write('{"level":"error","event":"one more"}\n')
    again = log_files.tail(tmp_path, path.name, 1, level="error", text="ONE")
    assert (again.total, len(again.lines)) == (40_001, 1)
    assert sum(read) < 100_000
