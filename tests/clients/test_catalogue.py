"""The catalogue, the pins, and the page made of them belong together."""

import json
import re

import pytest

from tests.clients import document, results
from tests.clients.catalogue import CLIENTS
from tests.clients.client import Client
from tests.clients.install import FOLDER, PROGRAMS, REQUIREMENTS

FROM_PIP = [client for client in CLIENTS if client.requirements is not None]
FROM_NPM = [client for client in CLIENTS if client.requirements is None]


def test_the_page_is_written_from_the_catalogue_and_the_results() -> None:
    written = document.DOCUMENT.read_text(encoding="utf-8")
    assert written == document.render(CLIENTS, results.read()), "make clients ARGS=--document"


def test_titles_are_unique() -> None:
    titles = [client.title for client in CLIENTS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda it: it.title)
def test_each_client_has_its_program_and_its_words(client: Client) -> None:
    assert (PROGRAMS / client.program).is_file()
    assert "GATEWAY" in client.connect
    named = {re.sub(r" \((sdk|http)\)$", "", feature) for feature in client.reasons}
    assert named <= set(client.features)


@pytest.mark.parametrize("client", FROM_PIP, ids=lambda it: it.title)
def test_requirements_pin_what_the_catalogue_names(client: Client) -> None:
    pinned = (REQUIREMENTS / f"{client.requirements}.txt").read_text(encoding="utf-8").lower().splitlines()
    assert {re.sub(r"\[.*\]", "", pin).lower() for pin in client.packages} <= set(pinned)
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in pinned)


@pytest.mark.parametrize("client", FROM_NPM, ids=lambda it: it.title)
def test_package_json_pins_what_the_catalogue_names(client: Client) -> None:
    package = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    kind = "optionalDependencies" if client.program.endswith(".py") else "dependencies"
    assert set(client.packages) <= {f"{name}@{version}" for name, version in package[kind].items()}


def test_the_npm_lock_names_no_registry() -> None:
    locked = FOLDER / "package-lock.json"
    assert not locked.exists() or "://" not in re.sub(r'"(funding|url|homepage)": [^\n]*', "", locked.read_text())
