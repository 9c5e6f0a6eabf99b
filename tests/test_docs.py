"""The documentation says what the code does: settings, commands, links."""

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from apiproxy.version import VERSION
from proxy_site import variables
from proxy_site.env import Variable

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def rows_after(document: str, header: str) -> list[str]:
    """The rows of the Markdown table with that header."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    start = lines.index(header) + 2
    length = next((n for n, line in enumerate(lines[start:]) if not line.startswith("|")), len(lines) - start)
    return lines[start : start + length]


def default_of(variable: Variable[object]) -> str:
    """The default as a reader would write it."""
    if variable.default_note:
        return variable.default_note
    if isinstance(variable.default, bool):
        return "`1`" if variable.default else "`0`"
    return f"`{variable.default}`" if variable.default not in (None, (), {}) else "none"


def settings_table(declared: Iterable[Variable[object]]) -> list[str]:
    """The rows of the settings table as the code declares them."""
    return [
        f"| `{variable.name}`{' (or `_FILE`)' if variable.secret else ''} | {default_of(variable)} "
        f"| {variable.kind.allowed} | {variable.meaning} |"
        for variable in declared
    ]


def test_the_settings_table_is_the_one_in_the_code() -> None:
    header = "| Variable | Default | What it may be | Meaning |"
    documented, declared = rows_after("docs/configuration.md", header), settings_table(variables.VARIABLES)
    assert documented == declared, "\n".join(["the table must be:", *declared])


def test_every_variable_that_a_document_names_is_one_that_the_gateway_reads() -> None:
    known = {name for variable in variables.VARIABLES for name in variable.names}
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


def test_the_two_commands_stand_on_the_first_screen_of_the_readme() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:24])
    assert "make serve" in first_screen
    assert "make test" in first_screen


def test_every_make_target_that_a_document_names_exists_and_is_in_the_help() -> None:
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    targets = {line.split()[0] for line in printed.splitlines()}
    assert targets >= {"serve", "test", "check", "fix", "bench", "help"}
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z]+)", document.read_text(encoding="utf-8")))
        assert named <= targets, document.name


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION


def test_the_changelog_has_what_is_unreleased_on_top() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
