"""Record what coding agents send at their start: `python -m tests.clients.record`.

Each runs against a server that keeps its first request with tools and rejects all. `recorded/*.json` gets the request
in small: one tool of each kind, words of this repository in place of the client's, no credentials, fixed ids.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients.catalogue import CLIENTS
from tests.clients.client import Client
from tests.clients.install import command

FOLDER = Path(__file__).with_name("recorded")
PROMPT = "[[say=hello]]"
"""The user's words in all of them, which the stand-in answers."""

_RECORDED: Mapping[str, tuple[str, str]] = {
    "codex": ("Codex CLI", "plain"),
    "codex_gpt_alias": ("Codex CLI", "apply_patch"),
    "codex_mcp": ("Codex CLI", "MCP tool"),
    "claude_code": ("Claude Code", "plain"),
    "opencode_anthropic": ("OpenCode, @ai-sdk/anthropic", "plain"),
    "opencode_openai": ("OpenCode, @ai-sdk/openai", "plain"),
    "opencode_compatible": ("OpenCode, @ai-sdk/openai-compatible", "plain"),
}
_SECRET = frozenset({"authorization", "x-api-key"})
_PER_CONNECTION = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
_OWN_WORDS = "Words of the client, in place of which these stand."
_KEPT = ("x-anthropic-billing-header:", "You are Claude Code, Anthropic's official CLI")
"""Beginnings of texts that servers look for."""
_GRAMMAR = 'start: "*** Begin Patch" LF "*** End Patch" LF?\n%import common.LF\n'
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")
_PATH = re.compile(r"/(?:tmp|root|home)/[^\"\\ <]*")
_SHORT = 40
_RUN_S = 120.0


@dataclass(slots=True)
class _Kept:
    """The first request with tools."""

    request: dict[str, Any] = field(default_factory=dict)


def main(names: Sequence[str]) -> None:
    """Record those, all without any."""
    by_title = {client.title: client for client in CLIENTS}
    for name in names or _RECORDED:
        title, feature = _RECORDED[name]
        client = by_title[title]
        request = _record(client, feature)
        found = {"client": f"{client.packages[0]}, {feature}", **_small(request)}
        (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {len(json.dumps(found))} bytes of {len(json.dumps(request))}", flush=True)


def _record(client: Client, feature: str) -> dict[str, Any]:
    kept = _Kept()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            with suppress(ValueError):
                body = json.loads(raw)
                if body.get("tools") and not kept.request:
                    kept.request = {"path": self.path, "headers": dict(self.headers.items()), "body": body}
            self._reject()

        def do_GET(self) -> None:
            self._reject()

        def _reject(self) -> None:
            answer = b'{"type":"error","error":{"type":"invalid_request_error","message":"recorded"}}'
            self.send_response(200 if self.path == "/_recorded" else 400)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as name:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        start, variables = command(client)
        target = {"GATEWAY_URL": url, "UPSTREAM_URL": url, "GATEWAY_KEY": "sk-recorded", "MODEL": client.model}
        work = Path(name) / "work"
        work.mkdir()
        env = {**os.environ, **variables, **target, "HOME": name, "WORK": str(work)}
        with suppress(subprocess.TimeoutExpired):
            subprocess.run([*start, feature], cwd=work, env=env, capture_output=True, timeout=_RUN_S, check=False)
        server.shutdown()
    assert kept.request, f"{client.title} sent no request with tools"
    return kept.request


def _small(request: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    kept = {name: _fixed(value) for name, value in headers.items() if name not in _SECRET | _PER_CONNECTION}
    body = {name: _in_own_words(value, key=name) for name, value in request["body"].items()}
    body["tools"] = _one_of_each_kind(body["tools"])
    return {"path": request["path"], "headers": kept, "body": body}


def _one_of_each_kind(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kinds: dict[Any, Mapping[str, Any]] = {}
    for tool in tools:
        inner = tool.get("tools")
        small = {**tool, "tools": inner[:1]} if isinstance(inner, list) else tool
        kinds.setdefault((tool.get("type"), *sorted(tool)), small)
    return list(kinds.values())


def _in_own_words(value: Any, *, key: str = "") -> Any:
    match value:
        case dict():
            return {name: _in_own_words(inner, key=name) for name, inner in value.items()}
        case list():
            return [_in_own_words(inner, key=key) for inner in value]
        case str() if key == "description":
            return "What it is for."
        case str() if key == "definition":
            return _GRAMMAR
        case str() if key in {"text", "content", "instructions", "system"}:
            return _words(value)
        case str():
            return _fixed(value)
    return value


def _words(text: str) -> str:
    if text.startswith(_KEPT):
        return _fixed(text.partition("\n")[0])
    if "[[" in text:
        return PROMPT
    return text if len(text) <= _SHORT and "\n" not in text else _OWN_WORDS


def _fixed(text: str) -> str:
    text = _UUID.sub("00000000-0000-4000-8000-000000000000", text)
    return _PATH.sub("/work", _HASH.sub("0" * 64, text))


if __name__ == "__main__":
    main(sys.argv[1:])
