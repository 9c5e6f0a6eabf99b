"""Shared by the Python client programs: each feature prints one JSON line. Standard library only.

    @feature("plain")
    def plain() -> None:
        assert ask("[[say=hello]]") == "hello"

    run()

A feature passes unless it raises; `Skip` gives a reason that lies in the client itself. Whatever else is printed goes
to standard error. With `over`, the function is called with each of these values, and all have to pass. No module of
this folder may have the name of a package that a program imports (`agents`, `llm`, `openai`).
"""

import asyncio
import contextlib
import inspect
import json
import os
import re
import sys
import time
import traceback
import urllib.parse
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

GATEWAY = os.environ["GATEWAY_URL"]
"""Without `/v1`."""
KEY = os.environ["GATEWAY_KEY"]
MODEL = os.environ["MODEL"]
WORK = Path(os.environ["WORK"])
"""An empty folder."""
UPSTREAM = os.environ["UPSTREAM_URL"]

RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""A PNG, base64."""
EMPTY_PDF = (
    "JVBERi0xLjQKMSAwIG9iajw8L1R5cGUvQ2F0YWxvZy9QYWdlcyAyIDAgUj4+ZW5kb2JqIDIgMCBvYmo8PC9UeXBlL1BhZ2VzL0tpZHNbMyAwIFJdL0"
    "NvdW50IDE+PmVuZG9iaiAzIDAgb2JqPDwvVHlwZS9QYWdlL01lZGlhQm94WzAgMCA5IDldL1BhcmVudCAyIDAgUj4+ZW5kb2JqCnRyYWlsZXI8PC9S"
    "b290IDEgMCBSPj4KJSVFT0YK"
)
"""A PDF of one page, base64."""

ENDLESS = "[[n=3000]] [[gap=0.02]]"
"""A prompt whose answer takes a minute: for features that leave early."""
TWO_TOOLS = 'The weather, please. [[tool=weather:{"city": "Rome"}]] [[tool=weather:{"city": "Oslo"}]] [[then]] [[seen]]'
"""A prompt that is answered with two parallel calls of `weather`, and then with what the upstream has seen."""
PERSON = '[[say={"name": "Ada", "age": 36}]]'
"""A prompt for the structured output `name`, `age`."""

E = TypeVar("E", bound=BaseException)

_FEATURES: dict[str, Callable[[], None]] = {}
_QUIET_S = 10.0


class Skip(Exception):  # noqa: N818 — no error: the reason, in the client itself, why it cannot do this
    """The client has no such feature, or a fault of its own."""


def feature(name: str, *, over: Iterable[Any] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function, which may be a coroutine function, as this feature."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def call() -> None:
            values = list(over)
            for value in values:
                try:
                    _call(function, value)
                except Exception as error:
                    error.add_note(f"with {getattr(value, '__name__', value)}")
                    raise
            if not values:
                _call(function)

        _FEATURES[name] = call
        return function

    return register


def run() -> None:
    """Tries the features named on the command line, in this order; all without any."""
    out, sys.stdout = sys.stdout, sys.stderr
    for name in sys.argv[1:] or list(_FEATURES):
        out.write(json.dumps({"feature": name, **_outcome(name)}) + "\n")
        out.flush()
    out.flush()
    os._exit(0)  # a client's threads must not hold up the next one


def city_weather(city: str) -> str:
    """Result of the tool `weather` in every program."""
    return f"{city}: sunny, {len(city)} degrees"


def seen(text: str) -> dict[str, Any]:
    """The request as the upstream received it, from the answer to `[[seen]]`."""
    found = re.search(r"\{\"messages\".*\}", text)
    assert found, f"no JSON in {text!r}"
    value: dict[str, Any] = json.loads(found[0])
    return value


def caught(kind: type[E] | tuple[type[E], ...], function: Callable[[], Any]) -> E:
    """The exception of this class that the function raises."""
    try:
        returned = function()
    except kind as error:
        return error
    raise AssertionError(f"no {kind} but {returned!r}")


async def caught_in(kind: type[E] | tuple[type[E], ...], awaitable: Awaitable[Any]) -> E:
    """The same for what is awaited."""
    try:
        returned = await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind} but {returned!r}")


def mark() -> str:
    """A word of its own, by which `left` finds the request."""
    return uuid.uuid4().hex


def left(word: str, *, within_s: float = _QUIET_S, aside: str = "") -> None:
    """Waits until the upstream's answer to the prompt with this word was given up by the gateway.

    aside: text of requests that do not count, such as one for a title, which the client does not leave.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = [it for it in _recorded(containing=word) if not aside or aside not in it["raw"]]
        if found and all(it["closed_by_client"] for it in found):
            return
        told = [{name: it[name] for name in ("number", "ended_at", "closed_by_client", "raw")} for it in found]
        assert time.monotonic() < deadline, f"the gateway goes on with a request that its client has left: {told}"
        time.sleep(0.05)


def asked(word: str) -> list[dict[str, Any]]:
    """The bodies that went upstream with this word."""
    return [json.loads(exchange["raw"]) for exchange in _recorded(containing=word)]


def _recorded(**query: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{UPSTREAM}/_recorded?{urllib.parse.urlencode(query)}", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)
        return found


def _call(function: Callable[..., Any], *arguments: Any) -> None:
    returned = function(*arguments)
    if inspect.isawaitable(returned):
        asyncio.run(_awaited(returned))


async def _awaited(value: Any) -> None:
    await value


def _outcome(name: str) -> dict[str, Any]:
    if name not in _FEATURES:
        return {"ok": False, "detail": "the program does not have it"}
    try:
        _FEATURES[name]()
    except Skip as reason:
        return {"ok": False, "skip": str(reason)}
    except BaseException as error:  # noqa: BLE001 — exception groups, and what clients derive from BaseException
        with contextlib.suppress(Exception):
            traceback.print_exc(file=sys.stderr)
        notes = "; ".join(getattr(error, "__notes__", ()))
        return {"ok": False, "detail": f"{type(error).__name__}: {error} {notes}".strip()[:2000]}
    return {"ok": True, "detail": ""}
