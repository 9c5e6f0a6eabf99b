"""The documentation says what the code does: settings, commands, links."""

import functools
import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from django.test import AsyncClient
from django.urls import URLPattern, URLResolver, get_resolver

from apiproxy.conf.setting import Setting
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.version import VERSION
from apiproxy.dialects.errors import status_and_type
from proxy_site.conf import TABLE
from proxy_site.unbuilt import UNBUILT
from proxy_site.unbuilt_view import answer_unbuilt
from tests.support import matrix

ROOT = Path(__file__).resolve().parent.parent
BROWSER_PAGES = ("/admin/", "/dashboard")
OPEN_PATHS = ("/", "/healthz", "/readyz", "/api/hello")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def rows_under(document: str, header: str) -> list[str]:
    """The rows of all Markdown tables with that header."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    starts = [number + 2 for number, line in enumerate(lines) if line == header]
    return [row for start in starts for row in itertools.takewhile(lambda line: line.startswith("|"), lines[start:])]


def default_of(variable: Setting[object]) -> str:
    """The default as a reader would write it."""
    if variable.default_note:
        return variable.default_note
    if isinstance(variable.default, bool):
        return "`1`" if variable.default else "`0`"
    return f"`{variable.default}`" if variable.default not in (None, (), {}) else "none"


def settings_table(declared: Iterable[Setting[object]]) -> list[str]:
    """The rows of the settings table as the code declares them."""
    return [
        f"| `{variable.name}`{' (or `_FILE`)' if variable.secret else ''} | {default_of(variable)} "
        f"| {variable.check.allowed} | {variable.description} |"
        for variable in declared
    ]


def test_match_settings_table_with_code() -> None:
    header = "| Variable | Default | What it may be | Meaning |"
    documented, declared = rows_under("docs/configuration.md", header), settings_table(TABLE)
    assert documented == declared, "\n".join(["the table must be:", *declared])


def paths_of(patterns: Iterable[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    """The API's paths as the site has them, parameters in braces; the browser's pages are left out."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if route.startswith(BROWSER_PAGES):
            continue
        if isinstance(pattern, URLResolver):
            yield from paths_of(pattern.url_patterns, route)
        elif pattern.callback is answer_unbuilt:
            continue  # `unbuilt` has these
        elif not isinstance(pattern.callback, functools.partial):  # ninja's placeholder for the root
            yield re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def endpoints() -> list[tuple[str, str]]:
    """Methods and paths that docs/compatibility.md lists."""
    cells = (row.split("|") for row in rows_under("docs/compatibility.md", "| Method | Path | Notes |"))
    return [(method, path.strip(" `")) for _, methods, path, *_ in cells for method in methods.strip().split(", ")]


def unbuilt() -> list[tuple[str, str]]:
    """Paths and APIs that docs/compatibility.md lists as not built."""
    cells = (row.split("|") for row in rows_under("docs/compatibility.md", "| Path | API |"))
    return [(path.strip(" `"), api.strip()) for _, path, api, _ in cells]


def test_document_endpoints_that_are_not_built() -> None:
    assert unbuilt() == [(f"/v1{endpoint.path}", endpoint.dialect or "both") for endpoint in UNBUILT]


def test_serve_endpoints_with_and_without_v1() -> None:
    served, documented = set(paths_of(get_resolver().url_patterns)), {path for _, path in endpoints()}
    versioned = {path for path in served if path.startswith("/v1/")}
    assert {path.removeprefix("/v1") for path in versioned} <= served
    assert served - {path.removeprefix("/v1") for path in versioned} == documented


@pytest.mark.parametrize(("method", "path"), [*endpoints(), *(("POST", path) for path, _ in unbuilt())], ids=str)
async def test_require_key_on_all_endpoints_but_open_ones(method: str, path: str) -> None:
    response = await AsyncClient().generic(method, re.sub(r"{\w+}", "x", path))
    if path in OPEN_PATHS:
        assert response.status_code in (200, 503)
    else:
        assert response.status_code in (401, 503)  # 503: operations, in a process that serves nothing
        assert response.json()["error"]


def test_match_fault_matrix_with_tests() -> None:
    declared = matrix.table()
    assert matrix.documented() == declared, "`make test ARGS=--fault-matrix` writes the table"


def test_match_table_of_errors_with_code() -> None:
    rows = (row.split("|") for row in rows_under("docs/compatibility.md", "| Status | Type | When |"))
    documented = {(status.strip(), kind.strip(" `")) for _, status, kind, *_ in rows} - {("any", "the upstream's")}
    raised = {status_and_type(ProxyError(kind, "")) for kind in FailureKind if kind != FailureKind.CLIENT_DISCONNECT}
    assert documented == {(str(status), kind) for status, kind in raised}


def test_document_only_variables_that_exist() -> None:
    known = {name for variable in TABLE for name in variable.names}
    for document in DOCUMENTS:
        named = set(re.findall(r"CLAUDE_PROXY_[A-Z_]*[A-Z]", document.read_text(encoding="utf-8")))
        assert named <= known, document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def test_show_both_commands_on_first_screen_of_readme() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:24])
    assert "make serve" in first_screen
    assert "make test" in first_screen


def test_document_only_existing_make_targets() -> None:
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    targets = {line.split()[0] for line in printed.splitlines()}
    assert targets >= {"serve", "test", "check", "fix", "bench", "help"}
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z]+)", document.read_text(encoding="utf-8")))
        assert named <= targets, document.name


def test_name_same_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION


def test_put_unreleased_changes_on_top() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
