"""aider with anthropic/ and openai/ models: an edit that it commits."""

import os
import subprocess
import sys
from pathlib import Path

from features import GATEWAY, KEY, MODEL, WORK, feature, run

MODELS = (f"anthropic/{MODEL}", f"openai/{MODEL}")
EDIT = "hello.py\n<<<<<<< SEARCH\nprint('one')\n=======\nprint('two')\n>>>>>>> REPLACE"
QUIET = [
    *("--no-check-update", "--no-analytics", "--no-show-model-warnings", "--no-gitignore", "--yes-always"),
    *("--no-show-release-notes", "--no-fancy-input", "--no-pretty", "--no-detect-urls"),
    *("--map-tokens", "0"),
]


def folder(name: str) -> Path:
    made = WORK / name
    made.mkdir()
    (made / "hello.py").write_text("print('one')\n", encoding="utf-8")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(made, *command)
    return made


def git(where: Path, *arguments: str) -> str:
    named = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.run(["git", *named, *arguments], cwd=where, capture_output=True, text=True, check=True).stdout


def aider(where: Path, model: str, message: str, *more: str) -> str:
    env = {
        **os.environ,
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_API_BASE": GATEWAY,
        "OPENAI_API_KEY": KEY,
        "OPENAI_API_BASE": f"{GATEWAY}/v1",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.com",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.com",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    command = [str(Path(sys.executable).with_name("aider")), *QUIET, "--model", model, "--edit-format", "diff"]
    done = subprocess.run(
        [*command, *more, "--message", message, "hello.py"],
        cwd=where, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def slug(model: str) -> str:
    return model.replace("/", "-")


@feature("plain", over=MODELS)
def plain(model: str) -> None:
    printed = aider(folder(f"plain-{slug(model)}"), model, "[[say=Good day]]", "--no-stream")
    assert "Good day" in printed, printed


@feature("streaming", over=MODELS)
def streaming(model: str) -> None:
    printed = aider(folder(f"stream-{slug(model)}"), model, "[[n=5]]", "--stream")
    assert "tok0 tok1 tok2 tok3 tok4" in printed, printed


@feature("edit and commit", over=MODELS)
def edit(model: str) -> None:
    where = folder(f"edit-{slug(model)}")
    printed = aider(where, model, f"[[say={EDIT}]]")
    assert (where / "hello.py").read_text(encoding="utf-8") == "print('two')\n", printed
    assert len(git(where, "log", "--oneline").splitlines()) == 2, printed


@feature("errors", over=MODELS)
def errors(model: str) -> None:
    printed = aider(folder(f"errors-{slug(model)}"), model, "[[status=400]] [[message=not now]]")
    assert "not now" in " ".join(printed.split()), printed


run()
