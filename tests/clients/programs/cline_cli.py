"""Cline's CLI with its OpenAI-compatible provider. Extra: "20-turn loop"."""

import json

from coding_agents import Finished, call, environment, fresh, run_cli, script
from features import GATEWAY, KEY, MODEL, Skip, asked, feature, mark, run


class Cline:
    """A home folder of Cline, signed in."""

    def __init__(self) -> None:
        folder = fresh("cline")
        self.work = folder / "work"
        off = {"CLINE_TELEMETRY_DISABLED": "1", "CLINE_NO_AUTO_UPDATE": "1", "NO_UPDATE_NOTIFIER": "1"}
        self._env = environment(folder, CLINE_DIR=str(folder / "home" / ".cline"), **off)
        login = ["cline", "auth", "-p", "openai-compatible", "-k", KEY, "-m", MODEL, "-b", f"{GATEWAY}/v1"]
        finished = run_cli(login, env=self._env, cwd=self.work)
        assert finished.code == 0, finished.all

    def __call__(self, *arguments: str) -> Finished:
        """The outcome of `cline`."""
        return run_cli(["cline", "--json", *arguments], env=self._env, cwd=self.work)

    def succeeds(self, *arguments: str) -> str:
        """The output of a run that succeeds."""
        finished = self(*arguments)
        assert finished.code == 0, finished.all
        return finished.stdout


def _shell(command: str) -> str:
    return call("run_commands", commands=[command])


@feature("plain")
def plain() -> None:
    output = Cline().succeeds("[[say=good day]]")
    assert "good day" in output.replace("[[say=good day]]", ""), output


@feature("streaming")
def streaming() -> None:
    word = mark()
    output = Cline().succeeds(f"[[n=50]] {word}")
    assert "tok49" in output, output
    assert all(body["stream"] for body in asked(word))


@feature("tool loop")
def tool_loop() -> None:
    cline = Cline()
    both = _shell("echo first > one.txt") + _shell("echo second > two.txt")
    cline.succeeds(script(both, "[[say=both are written]]"))
    assert [(cline.work / name).read_text() for name in ("one.txt", "two.txt")] == ["first\n", "second\n"]


@feature("structured output")
def structured_output() -> None:
    raise Skip("`cline` has no schema")


@feature("image and PDF")
def attachments() -> None:
    raise Skip("`cline` attaches no files outside its terminal interface")


@feature("errors")
def errors() -> None:
    cline = Cline()
    refused = cline("[[status=400]][[message=no such thing]]")
    assert "no such thing" in refused.stdout + refused.stderr, refused.all
    output = cline.succeeds(f"[[flaky={mark()}:1:529]][[say=after all]]")
    assert "after all" in output.replace("[[say=after all]]", ""), output


@feature("20-turn loop")
def long_loop() -> None:
    word = mark()
    steps = [_shell(f"echo step {number}") for number in range(19)]
    Cline().succeeds(f"{word} " + script(*steps, "[[say=all is done]]"))
    assert len(asked(word)) == 20, len(asked(word))
    assert "step 18" in json.dumps(asked(word)[-1]["messages"])


if __name__ == "__main__":
    run()
