"""Continue's `cn` with a configuration file: its anthropic and openai providers. Extra: "20-turn loop"."""

import json

from coding_agents import Finished, call, environment, fresh, run_cli, script
from features import GATEWAY, KEY, MODEL, Skip, asked, feature, mark, run

_PROVIDERS = {
    "anthropic": {"provider": "anthropic", "apiBase": f"{GATEWAY}/v1"},
    "openai": {"provider": "openai", "apiBase": f"{GATEWAY}/v1"},
}


class Continue:
    """A home folder of Continue."""

    def __init__(self, provider: str) -> None:
        folder = fresh("continue")
        self.work = folder / "work"
        self._config = folder / "config.yaml"
        model = {"name": "gateway", "model": MODEL, "apiKey": KEY, "roles": ["chat"], "capabilities": ["tool_use"]}
        config = {"name": "lab", "version": "1.0.0", "schema": "v1", "models": [model | _PROVIDERS[provider]]}
        self._config.write_text(json.dumps(config))  # JSON is YAML
        self._env = environment(folder, CONTINUE_TELEMETRY_ENABLED="0", CONTINUE_CLI_ENABLE_TELEMETRY="0")

    def __call__(self, *arguments: str) -> Finished:
        """The outcome of `cn -p`."""
        command = ["cn", "-p", "--auto", "--config", str(self._config), *arguments]
        return run_cli(command, env=self._env, cwd=self.work)

    def answer(self, *arguments: str) -> str:
        """The answer of a run that succeeds."""
        finished = self(*arguments)
        assert finished.code == 0, finished.all
        return finished.stdout.strip()


def _shell(command: str) -> str:
    return call("Bash", command=command)


@feature("plain", over=_PROVIDERS)
def plain(provider: str) -> None:
    answer = Continue(provider).answer("[[say=good day]]")
    assert answer == "good day", answer


@feature("streaming", over=_PROVIDERS)
def streaming(provider: str) -> None:
    word = mark()
    answer = Continue(provider).answer(f"[[n=50]] {word}")
    assert answer.startswith("tok0 tok1 "), answer
    assert all(body["stream"] for body in asked(word))


@feature("tool loop", over=_PROVIDERS)
def tool_loop(provider: str) -> None:
    client = Continue(provider)
    both = _shell("echo first > one.txt") + _shell("echo second > two.txt")
    answer = client.answer(script(both, "[[say=both are written]]"))
    assert answer == "both are written", answer
    assert [(client.work / name).read_text() for name in ("one.txt", "two.txt")] == ["first\n", "second\n"]


@feature("structured output")
def structured_output() -> None:
    raise Skip("`cn` has no schema")


@feature("image and PDF")
def attachments() -> None:
    raise Skip("`cn -p` attaches no files")


@feature("errors", over=_PROVIDERS)
def errors(provider: str) -> None:
    client = Continue(provider)
    refused = client("[[status=400]][[message=no such thing]]")
    assert "no such thing" in refused.stdout + refused.stderr, refused.all
    answer = client.answer(f"[[flaky={mark()}:1:529]][[say=after all]][[retry_after=1]]")
    assert answer == "after all", answer


@feature("second user turn", over=_PROVIDERS)
def second_user_turn(provider: str) -> None:
    client = Continue(provider)
    word = mark()
    client.answer(f"[[say=first answer]] {word}")
    assert client.answer("--resume", "[[say=second answer]]").endswith("second answer")
    assert "first answer" in json.dumps(asked(word)[-1]["messages"])


@feature("20-turn loop", over=_PROVIDERS)
def long_loop(provider: str) -> None:
    steps = [_shell(f"echo step {number}") for number in range(19)]
    answer = Continue(provider).answer(script(*steps, "[[say=all is done]]"))
    assert answer == "all is done", answer


if __name__ == "__main__":
    run()
