"""OpenCode through one of its providers: opencode_anthropic.py and its like call `main` with theirs.

Extras: "20-turn loop", "MCP tool".
"""

import base64
import json
import signal
import subprocess
from contextlib import AbstractContextManager
from typing import Any

from coding_agents import MCP_SERVER, RED_SQUARE, Finished, call, environment, fresh, run_cli, script, started, wait_for
from features import EMPTY_PDF, GATEWAY, KEY, MODEL, Skip, asked, feature, left, mark, run


class OpenCode:
    """A home folder of OpenCode. more: further keys of its configuration. package: the provider's."""

    package = ""

    def __init__(self, **more: Any) -> None:
        self._folder = fresh("opencode")
        self.work = self._folder / "work"
        modalities = {"input": ["text", "image", "pdf"], "output": ["text"]}
        model = {"name": MODEL, "attachment": True, "tool_call": True, "modalities": modalities}
        config = {
            "autoupdate": False,
            "share": "disabled",
            "permission": "allow",
            "model": f"gateway/{MODEL}",
            "provider": {
                "gateway": {
                    "npm": self.package,
                    "name": "Gateway",
                    "options": {"baseURL": f"{GATEWAY}/v1", "apiKey": KEY},
                    "models": {MODEL: model},
                }
            },
            **more,
        }
        (self.work / "opencode.json").write_text(json.dumps(config))
        self._env = environment(
            self._folder,
            OPENCODE_DISABLE_AUTOUPDATE="1",
            OPENCODE_DISABLE_MODELS_FETCH="1",
            OPENCODE_DISABLE_LSP_DOWNLOAD="1",
        )

    def command(self, *arguments: str) -> list[str]:
        return ["opencode", "run", "--format", "json", *arguments]

    def __call__(self, prompt: str, *arguments: str) -> Finished:
        """The outcome of `opencode run`. It would quote a prompt that is an argument, so it is the standard input."""
        return run_cli(self.command(*arguments), env=self._env, cwd=self.work, prompt=prompt)

    def answer(self, prompt: str, *arguments: str) -> str:
        """The last text of a run that succeeds."""
        finished = self(prompt, *arguments)
        assert finished.code == 0, finished.all
        errors = [line for line in finished.lines if line.get("type") == "error"]
        texts = [line["part"]["text"] for line in finished.lines if line.get("type") == "text"]
        assert texts, finished.all
        assert not errors, finished.all
        return str(texts[-1]).strip()

    def start(self, prompt: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return started(self.command(), env=self._env, cwd=self.work, prompt=prompt)


def _shell(command: str) -> str:
    return call("bash", command=command, description="A step")


@feature("plain")
def plain() -> None:
    answer = OpenCode().answer("[[say=good day]]")
    assert answer == "good day", answer


@feature("streaming")
def streaming() -> None:
    word = mark()
    answer = OpenCode().answer(f"[[n=50]][[gap=0.01]] {word}")
    assert answer.startswith("tok0 tok1 "), answer
    assert answer.endswith("tok49"), answer


@feature("tool loop")
def tool_loop() -> None:
    opencode = OpenCode()
    both = _shell("echo first > one.txt") + _shell("echo second > two.txt")
    answer = opencode.answer(script(both, "[[say=both are written]]"))
    assert answer == "both are written", answer
    assert [(opencode.work / name).read_text() for name in ("one.txt", "two.txt")] == ["first\n", "second\n"]


@feature("structured output")
def structured_output() -> None:
    raise Skip("`opencode run` has no schema")


@feature("image and PDF")
def attachments() -> None:
    opencode = OpenCode()
    (opencode.work / "red.png").write_bytes(base64.b64decode(RED_SQUARE))
    (opencode.work / "page.pdf").write_bytes(base64.b64decode(EMPTY_PDF))
    word = mark()
    answer = opencode.answer(
        f"[[say=seen]] {word}", "-f", str(opencode.work / "red.png"), "-f", str(opencode.work / "page.pdf")
    )
    assert answer == "seen", answer
    sent = [json.dumps(body["messages"]) for body in asked(word) if body.get("tools")]
    assert sent, sent[-1:]
    assert all(f'"type": "{kind}"' in sent[-1] for kind in ("image", "document")), sent[-1:]


@feature("errors")
def errors() -> None:
    opencode = OpenCode()
    refused = opencode("[[status=400]][[message=no such thing]]")
    assert "no such thing" in refused.stdout + refused.stderr, refused.all
    for fault in ("429", "529"):
        answer = opencode.answer(f"[[flaky={mark()}:2:{fault}]][[say=after all]][[retry_after=1]]")
        assert answer == "after all", answer


@feature("cancel")
def cancel() -> None:
    opencode = OpenCode()
    word = mark()
    with opencode.start(f"[[n=3000]][[gap=0.02]] {word}") as process:
        wait_for(word)
        process.send_signal(signal.SIGINT)
        left(word)
    assert opencode.answer("[[say=next]]") == "next"


@feature("second user turn")
def second_user_turn() -> None:
    opencode = OpenCode()
    word = mark()
    opencode.answer(f"{word} " + script(_shell("echo a word"), "[[say=first answer]]"))
    assert opencode.answer("[[say=second answer]]", "--continue") == "second answer"
    history = json.dumps(asked(word)[-1]["messages"])
    assert "first answer" in history, history[-2000:]
    assert "a word" in history, history[-2000:]


@feature("20-turn loop")
def long_loop() -> None:
    steps = [_shell(f"echo step {number}") for number in range(19)]
    answer = OpenCode().answer(script(*steps, "[[say=all is done]]"))
    assert answer == "all is done", answer


@feature("MCP tool")
def mcp_tool() -> None:
    servers = {"calc": {"type": "local", "command": list(MCP_SERVER), "enabled": True}}
    word = mark()
    prompt = f"{word} " + script(call("calc_add", a=40, b=2), "[[say=summed]]")
    answer = OpenCode(mcp=servers).answer(prompt)
    assert answer == "summed", answer
    assert any("the sum is 42" in json.dumps(body["messages"]) for body in asked(word))


def main(package: str) -> None:
    """Try the features named on the command line with this provider."""
    OpenCode.package = package
    run()
