"""docs/clients.md, from the catalogue and the results. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from tests.clients.client import COMMON, Client
from tests.clients.results import Outcome, Result
from tests.clients.running import ENGINES
from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "clients.md"
_HEADINGS = ("plain", "streaming", "tool loop", "structured output", "image, PDF", "errors", "cancel", "second turn")
_INTRODUCTION = """# Clients

Unmodified clients in their default configuration, each run by `make clients` against a gateway in its default settings
with the engines `sdk` and `http`, in front of a stand-in for the Messages API. `make clients` writes this page:
`make clients ARGS="--client openai --engine http"` only the rows whose title has the word.

✓: works on both engines. ✗: fails, on the engine named or on both; the reason is below. –: not offered by the client,
or not tried. The features: two tool calls at once and their results; output by a schema; 429 and 529 of the upstream,
and an error within the stream; a stream that is left, whose run ends; a second turn of the user.
"""
_CONNECT = """## How to point each client at the gateway

`GATEWAY` is the gateway's address, such as `http://127.0.0.1:3456`; `KEY` one of its API keys.
"""


def render(clients: Sequence[Client], results: Mapping[str, Result]) -> str:
    """The page."""
    parts = [_INTRODUCTION, "\n".join(_table(clients, results)), ""]
    if reasons := list(_reasons(clients, results)):
        parts += ["## Reasons\n", "\n".join(reasons), ""]
    parts += [_CONNECT]
    parts += [f"### {client.title}\n\n{client.connect.strip()}\n" for client in clients]
    return "\n".join(parts).rstrip() + "\n"


def failed(client: Client, result: Result) -> Iterator[tuple[str, str, Outcome]]:
    """Feature, engine and outcome of what failed without a reason in the catalogue."""
    for engine, outcomes in result.engines.items():
        for feature, outcome in outcomes.items():
            if not outcome.ok and not outcome.skip and client.reason(feature, engine) is None:
                yield feature, engine, outcome


def _table(clients: Sequence[Client], results: Mapping[str, Result]) -> Iterator[str]:
    yield "| Client | Version | " + " | ".join(_HEADINGS) + " | Others | Run |"
    yield "|---" * (len(_HEADINGS) + 4) + "|"
    for client in clients:
        result = results.get(client.title)
        if result is None:
            yield f"| {client.title} | {client.version} | " + "– | " * (len(_HEADINGS) + 1) + "not run |"
            continue
        cells = [_cell(result, feature) if feature in client.features else "–" for feature in COMMON]
        extras = ", ".join(f"{feature} {_cell(result, feature)}" for feature in client.extras) or "–"
        yield f"| {client.title} | {result.version} | " + " | ".join(cells) + f" | {extras} | {result.date} |"


def _cell(result: Result, feature: str) -> str:
    told = {engine: result.engines[engine][feature] for engine in ENGINES if feature in result.engines.get(engine, {})}
    if not told or all(outcome.skip for outcome in told.values()):
        return "–"
    bad = [engine for engine, outcome in told.items() if not outcome.ok]
    if not bad:
        return "✓" if len(told) == len(ENGINES) else f"✓ {', '.join(told)}"
    return "✗" if len(bad) == len(told) else f"✗ {', '.join(bad)}"


def _reasons(clients: Sequence[Client], results: Mapping[str, Result]) -> Iterator[str]:
    for client in clients:
        result = results.get(client.title)
        if result is None:
            continue
        by_reason: dict[tuple[str, str], list[str]] = {}
        for engine, outcomes in result.engines.items():
            for feature, outcome in outcomes.items():
                if not outcome.ok:
                    reason = outcome.skip or client.reason(feature, engine) or _plain(outcome.detail)
                    by_reason.setdefault((feature, reason), []).append(engine)
        for (feature, reason), engines in by_reason.items():
            where = "" if len(engines) == len(result.engines) else f" ({', '.join(engines)})"
            yield f"- {client.title}, {feature}{where}: {reason}"


def _plain(detail: str) -> str:
    """A failure's own words, as code."""
    return f"`{' '.join(detail.replace('`', chr(39)).split())[:200]}`" if detail else "no words"
