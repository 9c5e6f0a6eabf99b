"""The fault matrix in docs/operations.md: a row for each `@pytest.mark.fault`, written from a run that passed.

    @pytest.mark.fault("the upstream", "refuses the connection", plain="502 api_error", …)

The first word says who is at fault, the second what happens. plain and streamed: what a client gets; trace: what is
kept of the request; after: the state afterwards, `at rest` where `tests/faults/support.py` looks at all of it. Tests in
tests/faults compare what they see with these very words (`Expected`); marks on other tests describe them.

http: what differs with the engine `http`, `SAME` for nothing; absent for faults shown with `sdk` only. A test that has
the fixture `engine` runs once for each engine of its marks.

`make test ARGS=--fault-matrix` writes the table, where all of its tests have passed. tests/test_docs.py compares it.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from apiproxy.core.turns import EngineName

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "operations.md"
BEGIN = "<!-- fault matrix: `make test ARGS=--fault-matrix` writes it -->"
END = "<!-- end of the fault matrix -->"
HEADER = (
    "| Who | Fault | Engine | Client | Client, streamed | Trace | Afterwards | Shown by |\n"
    "|---|---|---|---|---|---|---|---|\n"
)  # fmt: skip
AT_REST = "at rest"
SAME: Mapping[str, str] = {}
"""Of `http`: the same as with `sdk`."""

_ORDER = (
    *("The upstream", "The CLI", "The client", "The database", "Redis", "The disk", "The clock"),
    *("The process", "SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"),
)
_MARK = "fault"
_PROPERTY = "fault"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Expectation of a mark for one engine; empty without one."""

    who: str
    what: str
    engine: EngineName = "sdk"
    plain: str = ""
    streamed: str = ""
    trace: str = ""
    after: str = ""

    @classmethod
    def of(cls, mark: pytest.Mark, engine: EngineName = "sdk") -> "Expected":
        """The mark's."""
        who, what = mark.args
        said = dict(mark.kwargs)
        http = said.pop("http", SAME)
        return cls(who=who, what=what, engine=engine, **said | (http if engine == "http" else {}))

    @property
    def traces(self) -> tuple[str, str]:
        """Traces of a plain and a streamed request; `…; streamed: …` where they differ."""
        plain, _, streamed = self.trace.partition("; streamed: ")
        return plain, streamed or plain

    @property
    def key(self) -> str:
        """Its name."""
        return f"{self.who} {self.what} ({self.engine})"

    def row(self, test: str, engines: Iterable[str]) -> str:
        """Its line in the table."""
        cells = (self.who, self.what, ", ".join(engines), self.plain, self.streamed, self.trace, self.after)
        return "| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in (*cells, f"`{test}`")) + " |"


def engines_of(mark: pytest.Mark) -> tuple[EngineName, ...]:
    """Engines that the mark's test runs with, where it has the fixture `engine`."""
    return ("sdk", "http") if "http" in mark.kwargs else ("sdk",)


def rows() -> dict[str, str]:
    """The table's lines by the faults' names, as the tests' own marks say; once more for the other engine's name."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.fault(" not in path.read_text(encoding="utf-8"):
            continue
        where = path.relative_to(ROOT)
        module = importlib.import_module(".".join(where.with_suffix("").parts))
        for name, function in _tests_of(module):
            for mark in _fault_marks(getattr(function, "pytestmark", ())):
                for expected, row in _rows_of(mark, f"{where}::{name}"):
                    assert expected.key not in found, f"two tests show that {expected.key}"
                    found[expected.key] = (expected.who, row)
    ordered = sorted(found.items(), key=lambda item: _ORDER.index(item[1][0]))
    return {key: row for key, (_, row) in ordered}


def table() -> list[str]:
    """The table's lines, in order."""
    return list(dict.fromkeys(rows().values()))


def _rows_of(mark: pytest.Mark, test: str) -> Iterator[tuple[Expected, str]]:
    engines = engines_of(mark)
    if mark.kwargs.get("http") == SAME:
        yield from ((Expected.of(mark, engine), Expected.of(mark).row(test, engines)) for engine in engines)
        return
    for engine in engines:
        expected = Expected.of(mark, engine)
        yield expected, expected.row(test, (engine,))


def _tests_of(module: object) -> Iterator[tuple[str, object]]:
    for name, it in vars(module).items():
        if name.startswith("test_") and callable(it):
            yield name, it
        elif inspect.isclass(it) and name.startswith("Test"):
            yield from ((f"{name}::{method}", function) for method, function in _tests_of(it))


def _fault_marks(marks: Iterable[pytest.Mark]) -> Iterator[pytest.Mark]:
    """Fault marks of a test and of its parameters."""
    for mark in reversed(list(marks)):
        if mark.name == _MARK:
            yield mark
        elif mark.name == "parametrize":
            for value in mark.args[1]:
                yield from (inner for inner in getattr(value, "marks", ()) if inner.name == _MARK)


def documented() -> list[str]:
    """The table's lines as they stand in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]


def write(lines: Iterable[str]) -> None:
    """Puts the lines in the place of those that the document has."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    table = HEADER + "\n".join(lines)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


class Plugin:
    """Gathers what became of the marked tests, wherever they ran, and writes the table at the end."""

    def __init__(self) -> None:
        self._passed: set[str] = set()
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test, in this process or told by one of xdist's."""
        for name, value in report.user_properties:
            if name == _PROPERTY:
                if report.failed:
                    self._failed.add(str(value))
                elif report.when == "call" and report.passed:
                    self._passed.add(str(value))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Writes, or says why not."""
        missing = sorted(set(rows()) - (self._passed - self._failed))
        if missing:
            terminalreporter.write_line("The fault matrix is not written; not shown by this run:")
            for key in missing:
                terminalreporter.write_line(f"  {key}")
            return
        lines = table()
        write(lines)
        terminalreporter.write_line(f"The fault matrix has {len(lines)} rows, all shown by this run.")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes."""
    help_ = "write the fault matrix into docs/operations.md, where all of its tests pass"
    parser.addoption("--fault-matrix", action="store_true", help=help_)


def pytest_configure(config: pytest.Config) -> None:
    """The mark, and the plugin where it is asked for; not in xdist's own processes, which tell theirs."""
    config.addinivalue_line(
        "markers", "fault(who, what, *, plain, streamed, trace, after, http): a row of the fault matrix"
    )
    if config.getoption("--fault-matrix") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Plugin())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Makes the mark travel with the test's reports, and drops tests with an engine that their mark does not name."""
    others = [item for item in items if not _concerns_engine(item)]
    if others:
        left_out = set(others)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=others)
    for item in items:
        for mark in item.iter_markers(_MARK):
            item.user_properties.append((_PROPERTY, Expected.of(mark, _engine_of(item)).key))


def _concerns_engine(item: pytest.Item) -> bool:
    marks = list(item.iter_markers(_MARK))
    return not marks or any(_engine_of(item) in engines_of(mark) for mark in marks)


def _engine_of(item: pytest.Item) -> EngineName:
    callspec = getattr(item, "callspec", None)
    engine: EngineName = callspec.params.get("engine", "sdk") if callspec is not None else "sdk"
    return engine


def every(marks: Iterable[pytest.MarkDecorator]) -> Callable[[T], T]:
    """Puts all of the marks on a test that shows several faults."""

    def put(test: T) -> T:
        marked: Any = test
        for mark in reversed(list(marks)):
            marked = mark(marked)
        return cast("T", marked)

    return put


@pytest.fixture
def all_expected(request: pytest.FixtureRequest) -> dict[str, Expected]:
    """Expectations of a test with several marks, by fault."""
    found = [Expected.of(mark, _engine_of(request.node)) for mark in request.node.iter_markers(_MARK)]
    return {one.what: one for one in found}


@pytest.fixture
def expected(request: pytest.FixtureRequest) -> Expected:
    """Expectation of the test's own mark."""
    mark = request.node.get_closest_marker(_MARK)
    assert mark is not None
    return Expected.of(mark, _engine_of(request.node))
