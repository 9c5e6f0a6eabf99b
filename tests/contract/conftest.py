"""The bundled CLI and the stand-in behind it. A failing test here means: the SDK's new version breaks the engine."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.raw_cli import RawCli
from tests.support.stand_in import StandInProcess


class StartCli(Protocol):
    """Starts a CLI process of the test's own."""

    def __call__(
        self,
        *,
        env: Mapping[str, str | None] | None = None,
        on_line: Callable[[RawCli, bytes], None] | None = None,
    ) -> RawCli: ...


@pytest.fixture(scope="session")
def warm_cli(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawCli]:
    """One warm process for all tests that leave it as it was."""
    cli = RawCli(tmp_path_factory.mktemp("cli"), upstream=stand_in.base_url)
    yield cli
    cli.stop()


@pytest.fixture
def start_cli(stand_in: StandInProcess, tmp_path: Path) -> Iterator[StartCli]:
    """Starts a CLI for tests that kill it or change its environment; all are stopped at the end."""
    started: list[RawCli] = []

    def start(
        *,
        env: Mapping[str, str | None] | None = None,
        on_line: Callable[[RawCli, bytes], None] | None = None,
    ) -> RawCli:
        started.append(RawCli(tmp_path, upstream=stand_in.base_url, env=env, on_line=on_line))
        return started[-1]

    yield start
    for cli in started:
        cli.kill()
        cli.stop()


def body(prompt: str, **fields: Any) -> dict[str, Any]:
    """A small Messages body around a prompt."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": messages, **fields}
