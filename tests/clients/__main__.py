"""Run the clients and write docs/clients.md. Exit code 1 where one fails without a reason in the catalogue."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.clients import document, drift, results
from tests.clients.catalogue import CLIENTS
from tests.clients.client import Client
from tests.clients.install import InstallError, lock
from tests.clients.results import Outcome, Result
from tests.clients.running import ENGINES, Target, exercise, target


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--client", action="append", default=[], help="the title or a word of it; may repeat")
    parser.add_argument("--engine", action="append", choices=ENGINES, default=[])
    parser.add_argument("--feature", action="append", default=[], help="only these; the others keep their results")
    parser.add_argument("--list", action="store_true", help="list the clients and end")
    parser.add_argument("--document", action="store_true", help="only write docs/clients.md from the last results")
    parser.add_argument("--lock", action="append", default=[], metavar="NAME", help="write requirements/NAME.txt anew")
    options = parser.parse_args(arguments)
    chosen = [it for it in CLIENTS if not options.client or any(_named(it, word) for word in options.client)]
    if options.lock:
        return _lock(options.lock)
    if options.list:
        for client in chosen:
            print(f"{client.title}\t{client.version}\t{', '.join(client.features)}")
        return 0
    code = 0 if options.document else _run(chosen, options.engine or ENGINES, options.feature)
    document.DOCUMENT.write_text(document.render(CLIENTS, results.read()), encoding="utf-8")
    return code


def _named(client: Client, word: str) -> bool:
    """True for the client with this title; where there is none, for those whose title contains it."""
    word, title = word.lower(), client.title.lower()
    return title == word if word in {it.title.lower() for it in CLIENTS} else word in title


def _lock(stems: Sequence[str]) -> int:
    for stem in stems:
        packages = sorted({pin for it in CLIENTS if it.requirements == stem for pin in it.packages})
        print(f"{stem}: {' '.join(packages)}", flush=True)
        lock(stem, packages)
    return 0


def _run(clients: Sequence[Client], engines: Sequence[str], features: Sequence[str]) -> int:
    bad = 0
    for engine in engines:
        with target(engine) as at:
            for client in clients:
                outcomes = _exercise(client, at, features)
                bad += _tell(client, engine, outcomes)
                _keep(client, engine, outcomes)
    for line in drift.news():
        print(line)
        bad += 1
    return 1 if bad else 0


def _exercise(client: Client, at: Target, features: Sequence[str]) -> dict[str, Outcome]:
    wanted = [name for name in client.features if not features or name in features]
    try:
        return exercise(client, at, features=wanted) if wanted else {}
    except InstallError as error:
        return {name: Outcome(ok=False, detail=f"not installed: {error}") for name in wanted}


def _tell(client: Client, engine: str, outcomes: dict[str, Outcome]) -> int:
    """Prints a line for each feature; the number of unexpected failures."""
    unexpected = 0
    for feature, outcome in outcomes.items():
        reason = outcome.skip or (client.reason(feature, engine) if not outcome.ok else None)
        unexpected += not outcome.ok and reason is None
        sign = "ok  " if outcome.ok else "–   " if reason else "FAIL"
        print(f"{sign} {client.title} | {engine} | {feature} {reason or outcome.detail}".rstrip(), flush=True)
    return unexpected


def _keep(client: Client, engine: str, outcomes: dict[str, Outcome]) -> None:
    kept = results.read()
    before = kept.get(client.title)
    engines = dict(before.engines) if before and before.version == client.version else {}
    known = {**engines.get(engine, {}), **outcomes}
    engines[engine] = {name: known[name] for name in client.features if name in known}
    kept[client.title] = Result(version=client.version, date=f"{datetime.now(UTC):%Y-%m-%d}", engines=engines)
    results.write({it.title: kept[it.title] for it in CLIENTS if it.title in kept})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
