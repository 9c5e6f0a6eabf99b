"""Codex CLI in its default configuration: a provider with the gateway's address, and nothing else.

Extras: "20-turn loop", "MCP tool", "apply_patch" (a GPT-like alias), "compaction", "built-in provider".
"""

import base64
import json
import re
import signal
import subprocess
from contextlib import AbstractContextManager

from coding_agents import (
    BROKEN,
    MCP_SERVER,
    RATE_LIMIT,
    RED_SQUARE,
    Finished,
    call,
    environment,
    fresh,
    run_cli,
    script,
    started,
    wait_for,
)
from features import GATEWAY, KEY, MODEL, asked, feature, left, mark, run

_ALIAS = "gpt-5.5"
_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Codex:
    """A home folder of Codex. keys, tables: further lines of its configuration."""

    def __init__(self, *, model: str = MODEL, keys: str = "", tables: str = "", built_in: bool = False) -> None:
        self._folder = fresh("codex")
        self.work = self._folder / "work"
        self._last = self._folder / "last.txt"
        self._env = environment(self._folder, CODEX_HOME=str(self._folder / "home"), GATEWAY_KEY=KEY)
        home = self._folder / "home"
        if built_in:
            provider = f'openai_base_url = "{GATEWAY}/v1"'
            (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": KEY}))
        else:
            provider = 'model_provider = "gateway"'
            tables += (
                f'[model_providers.gateway]\nname = "Gateway"\nbase_url = "{GATEWAY}/v1"\nenv_key = "GATEWAY_KEY"\n'
            )
        config = f'model = "{model}"\n{provider}\ncheck_for_update_on_startup = false\n{keys}\n\n{tables}'
        (home / "config.toml").write_text(config)

    def command(self, *arguments: str) -> list[str]:
        options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        return ["codex", "exec", "--json", *options, "-o", str(self._last), *arguments]

    def __call__(self, *arguments: str) -> Finished:
        """The outcome of `codex exec`."""
        return run_cli(self.command(*arguments), env=self._env, cwd=self.work)

    def answer(self, *arguments: str) -> str:
        """The last message of a run that succeeds."""
        finished = self(*arguments)
        assert finished.code == 0, finished.all
        assert any(line.get("type") == "turn.completed" for line in finished.lines), finished.all
        return self._last.read_text().strip()

    def start(self, prompt: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return started(self.command(prompt), env=self._env, cwd=self.work)


def _shell(command: str) -> str:
    return call("exec_command", cmd=command)


@feature("plain")
def plain() -> None:
    codex = Codex()
    answer = codex.answer("[[say=good day]]")
    assert answer == "good day", answer


@feature("streaming")
def streaming() -> None:
    word = mark()
    answer = Codex().answer(f"[[n=50]][[gap=0.01]] {word}")
    assert answer.startswith("tok0 tok1 "), answer
    assert answer.endswith("tok49"), answer
    assert all(body["stream"] for body in asked(word))


@feature("tool loop")
def tool_loop() -> None:
    codex = Codex()
    both = _shell("echo first > one.txt") + _shell("echo second > two.txt")
    answer = codex.answer(script(both, "[[say=both are written]]"))
    assert answer == "both are written", answer
    assert [(codex.work / name).read_text() for name in ("one.txt", "two.txt")] == ["first\n", "second\n"]


@feature("structured output")
def structured_output() -> None:
    codex = Codex()
    schema = codex.work / "schema.json"
    schema.write_text(json.dumps(_SCHEMA))
    answer = codex.answer("--output-schema", str(schema), '[[say={"name": "Ada", "age": 36}]]')
    assert json.loads(answer) == {"name": "Ada", "age": 36}, answer


@feature("image and PDF")
def image() -> None:
    """Images given with the prompt and read by a tool; Codex attaches no PDF."""
    codex = Codex()
    picture = codex.work / "red.png"
    picture.write_bytes(base64.b64decode(RED_SQUARE))
    word = mark()
    steps = script(call("view_image", path=str(picture)), "[[say=two images]]")
    answer = codex.answer(f"{steps} {word}", "-i", str(picture))
    assert answer.startswith("two images"), answer
    sent = json.dumps(asked(word)[-1]["messages"])
    assert len(re.findall(r'"type": ?"image"', sent)) == 2, sent[-2000:]


@feature("errors")
def errors() -> None:
    codex = Codex()
    refused = codex("[[status=400]][[message=no such thing]]")
    assert refused.code != 0, refused.all
    assert "no such thing" in refused.stdout, refused.all
    limited = codex(RATE_LIMIT)
    assert limited.code != 0, limited.all
    assert re.search("not so fast|429|rate limit|too many requests", limited.stdout, re.I), limited.all
    for fault in ("529", "drop"):
        answer = codex.answer(f"[[flaky={mark()}:2:{fault}]][[say=after all]]")
        assert answer == "after all", answer
    broken = codex(BROKEN)
    assert broken.code != 0, broken.all
    assert "broken off" in broken.stdout, broken.all


@feature("cancel")
def cancel() -> None:
    codex = Codex()
    word = mark()
    with codex.start(f"[[n=3000]][[gap=0.02]] {word}") as process:
        wait_for(word)
        process.send_signal(signal.SIGINT)
        left(word)
    assert codex.answer("[[say=next]]") == "next"


@feature("second user turn")
def second_user_turn() -> None:
    codex = Codex()
    word = mark()
    codex.answer(script(_shell("echo a word"), f"[[say=first answer]] {word}"))
    assert codex.answer("resume", "--last", "[[say=second answer]]") == "second answer"
    history = json.dumps(asked(word)[-1]["messages"])
    assert "first answer" in history, history[-2000:]
    assert "a word" in history, history[-2000:]


@feature("20-turn loop")
def long_loop() -> None:
    word = mark()
    steps = [_shell(f"echo step {number}") for number in range(19)]
    answer = Codex().answer(f"{word} " + script(*steps, "[[say=all is done]]"))
    assert answer == "all is done", answer
    assert len(asked(word)) == 20, len(asked(word))


@feature("MCP tool")
def mcp_tool() -> None:
    word = mark()
    command, *arguments = MCP_SERVER
    table = f"[mcp_servers.calc]\ncommand = {json.dumps(command)}\nargs = {json.dumps(arguments)}\n"
    codex = Codex(tables=table)
    name = _offered(codex, "add")
    answer = codex.answer(script(call(name, a=40, b=2), "[[say=summed]]") + word)
    assert answer.startswith("summed"), answer
    assert "the sum is 42" in json.dumps(asked(word)[-1]["messages"]), asked(word)[-1]["messages"][-2:]


def _offered(codex: Codex, end: str) -> str:
    """Name under which the upstream is offered the tool that ends so."""
    word = mark()
    codex.answer(f"[[say=hello]] {word}")
    names = [tool.get("name", "") for tool in asked(word)[-1]["tools"]]
    found = [name for name in names if name.endswith(end)]
    assert found, names
    return str(found[0])


@feature("apply_patch")
def apply_patch() -> None:
    codex = Codex(model=_ALIAS)
    patch = "*** Begin Patch\n*** Add File: new.txt\n+a new line\n*** End Patch\n"
    answer = codex.answer(script(call("apply_patch", input=patch), "[[say=patched]]"))
    assert answer == "patched", answer
    assert (codex.work / "new.txt").read_text() == "a new line\n"


@feature("compaction")
def compaction() -> None:
    codex = Codex(keys="model_auto_compact_token_limit = 20000")
    word = mark()
    assert codex.answer(f"[[say=first answer]][[in=90000]] {word}") == "first answer"
    assert codex.answer("resume", "--last", "[[say=after compaction]]") == "after compaction"
    assert codex.answer("resume", "--last", "[[say=third answer]]") == "third answer"
    last = asked("third answer")[-1]["messages"]
    spoken = [json.dumps(message["content"]) for message in last if message["role"] == "assistant"]
    assert not any("first answer" in text for text in spoken), spoken


@feature("built-in provider")
def built_in_provider() -> None:
    """Provider `openai` with another base URL: it reads the model catalogue, and compacts at the server."""
    codex = Codex(built_in=True)
    assert codex.answer(script(_shell("echo a word"), "[[say=good day]]")) == "good day"


if __name__ == "__main__":
    run()
