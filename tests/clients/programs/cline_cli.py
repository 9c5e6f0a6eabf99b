"""Cline's CLI with its OpenAI-compatible provider. Extra: "20-turn loop"."""

from agents import Finished, call, environment, fresh, run_cli, script
from features import GATEWAY, KEY, MODEL, Skip, asked, feature, mark, run


class Cline:
    """A home folder of Cline, signed in."""

    def __init__(self) -> None:
        folder = fresh("cline")
        self.work = folder / "work"
        self._env = environment(folder, CLINE_TELEMETRY_DISABLED="1")
        login = ["cline", "auth", "-p", "openai", "-k", KEY, "-m", MODEL, "-b", f"{GATEWAY}/v1"]
        finished = run_cli(login, env=self._env, cwd=self.work)
        assert finished.code == 0, finished.all

    def __call__(self, *arguments: str) -> Finished:
        """The outcome of `cline`."""
        return run_cli(["cline", "-y", "--json", *arguments], env=self._env, cwd=self.work)


@feature("plain")
def plain() -> None:
    finished = Cline()("[[say=good day]]")
    assert finished.code == 0, finished.all
    assert "good day" in finished.stdout, finished.all


if __name__ == "__main__":
    run()

__all__ = ["Skip", "asked", "call", "mark", "script"]
