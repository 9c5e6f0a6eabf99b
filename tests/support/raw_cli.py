"""The bundled CLI, driven by hand over its stream-json protocol: what the contract tests ask what it really does.

Flags and environment are the engine's own (`apiproxy.engines.sdk.launch`). Threads and not asyncio, so that one warm
process can serve the tests of a whole session.
"""

import json
import os
import queue
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from apiproxy.engines.sdk.launch import LaunchSpec, WorkerFolder, bundled_cli

Line = dict[str, Any]

_ANSWER_S = 30.0
_STOP_S = 5.0


class CliEndedError(Exception):
    """The process has closed its output; the text is the end of its stderr."""


@dataclass(frozen=True, slots=True)
class CliTurn:
    """Reaction to one user message. lines: the CLI's lines for it, including the result."""

    uuid: str
    lines: list[Line] = field(default_factory=list)

    @property
    def result(self) -> Line:
        """The `result` line that ended the turn."""
        return self.lines[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The upstream's stream events."""
        return [line["event"] for line in self.lines if line["type"] == "stream_event"]

    @property
    def text(self) -> str:
        """The text deltas, joined."""
        deltas = [event["delta"] for event in self.events if event["type"] == "content_block_delta"]
        return "".join(delta.get("text", "") for delta in deltas)

    @property
    def error(self) -> Line:
        """The synthetic assistant line of an API error."""
        return next(line for line in self.lines if line.get("is_api_error_message"))


class RawCli:
    """One CLI process. Started by the constructor, ended by `stop`; every wait has a deadline (queue.Empty after 30 s).

    env and flags are laid over the engine's, to show what happens without one of them; None removes a variable.
    on_line hears every raw output line first, on the reading thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        upstream: str,
        env: Mapping[str, str | None] | None = None,
        on_line: Callable[["RawCli", bytes], None] | None = None,
    ) -> None:
        spec = LaunchSpec(
            cli=bundled_cli(),
            folders=folder,
            max_duration_ms=600_000,
            stall_timeout_ms=120_000,
            credential_env={"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": upstream},
        )
        home = WorkerFolder.create(folder, uuid.uuid4().hex)
        variables = {**spec.environment(home, os.environ), **(env or {})}
        self._process = subprocess.Popen(
            spec.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in variables.items() if value is not None},
            cwd=home.cwd,
        )
        self._on_line = on_line
        self._lines: queue.Queue[Line | None] = queue.Queue()
        self._stderr: list[bytes] = []
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read_output, self._read_errors)]
        for thread in self._threads:
            thread.start()
        self.control("initialize", hooks=None)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """Content of stderr."""
        return b"".join(self._stderr).decode(errors="replace")

    @property
    def arguments(self) -> list[str]:
        """Its command line, as anyone on the machine can read it."""
        return psutil.Process(self.pid).cmdline()

    def send_control(self, subtype: str, **fields: Any) -> str:
        """Sends a control request; its id. The response comes among the lines."""
        request_id = uuid.uuid4().hex
        self.send({"type": "control_request", "request_id": request_id, "request": {"subtype": subtype, **fields}})
        return request_id

    def control(self, subtype: str, **fields: Any) -> Line:
        """The response to a control request, empty where it was refused. Lines of a turn before it are dropped."""
        request_id = self.send_control(subtype, **fields)
        for line in self.lines():
            if line["type"] == "control_response" and line["response"].get("request_id") == request_id:
                response: Line = line["response"].get("response") or {}
                return response
        raise AssertionError("unreachable: `lines` ends by an exception")

    def overlay(self, body: Mapping[str, Any]) -> None:
        """Lays this over every request from now on."""
        self.control("apply_flag_settings", settings={"env": {"CLAUDE_CODE_EXTRA_BODY": json.dumps(body)}})

    def say(self, content: str = ".") -> str:
        """Sends a user message as the engine does; its uuid."""
        marker = str(uuid.uuid4())
        message = {"role": "user", "content": content}
        self.send(
            {
                "type": "user",
                "message": message,
                "parent_tool_use_id": None,
                "session_id": "",
                "uuid": marker,
                "client_composed": True,
            }
        )
        return marker

    def turn(self, body: Mapping[str, Any], *, content: str = ".") -> CliTurn:
        """Overlay, message, all lines up to the result, and the rewind."""
        self.overlay(body)
        turn = self.finish(CliTurn(self.say(content)))
        assert self.rewind(turn.uuid)
        return turn

    def finish(self, turn: CliTurn) -> CliTurn:
        """Reads the turn's lines up to its result."""
        for line in self.lines():
            turn.lines.append(line)
            if line["type"] == "result":
                break
        return turn

    def until_event(self, turn: CliTurn, kind: str) -> None:
        """Reads the turn's lines up to the first stream event of that type."""
        for line in self.lines():
            turn.lines.append(line)
            if line["type"] == "stream_event" and line["event"]["type"] == kind:
                break

    def rewind(self, marker: str) -> bool:
        """Takes the conversation back to before that message; whether it did."""
        return bool(self.control("rewind_conversation", target_message_uuid=marker).get("rewound"))

    def lines(self) -> Iterator[Line]:
        """Lines of the CLI as they arrive. Raises CliEndedError at its end, queue.Empty after 30 s of silence."""
        while (line := self._lines.get(timeout=_ANSWER_S)) is not None:
            yield line
        raise CliEndedError(self.stderr[-2000:])

    def send(self, line: Line) -> None:
        """Writes one line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def close_stdin(self) -> None:
        """Closes stdin, as when the parent dies."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self, *, within_s: float) -> int:
        """The exit code; subprocess.TimeoutExpired where it has not ended by then."""
        return self._process.wait(within_s)

    def stop(self) -> None:
        """Ends it, by kill where it does not go by itself."""
        try:
            self.close_stdin()
            self._process.wait(_STOP_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(_STOP_S)
        for thread in self._threads:
            thread.join(_STOP_S)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                if self._on_line is not None:
                    self._on_line(self, line)
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            self._stderr.extend(stderr)
