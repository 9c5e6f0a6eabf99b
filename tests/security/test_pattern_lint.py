"""Every regular expression of the product is looked at for what makes its time grow faster than its text."""

import ast
import importlib
import re
from collections.abc import Iterator

import pytest

from tests.support.patterns import faults
from tests.support.sources import sources

_PRODUCT = ("apiproxy", "observability", "proxy_site")
_CALLS = frozenset({"match", "search", "sub", "subn", "fullmatch", "finditer", "findall", "split"})
_MADE_OF_LITERALS = {
    "observability.tracing.redact": 1,  # alternatives of escaped secrets
    "observability.logs.format": 0,
    "apiproxy.standin.demo": 1,  # an escaped word between two looks around
}
"""Patterns that are made at run time and so not found by importing the module: how many, and why they are harmless."""


def product() -> list[str]:
    return sorted(name for name in sources() if name.partition(".")[0] in _PRODUCT)


def patterns_in(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from patterns_in(item)


def compiled(module: str) -> list[re.Pattern[str] | re.Pattern[bytes]]:
    loaded = vars(importlib.import_module(module))
    return [pattern for name, value in loaded.items() if not name.startswith("__") for pattern in patterns_in(value)]


def calls(module: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(sources()[module].read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_re(node.func.value):
            yield node


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str | bytes)


def _is_re(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "re"


@pytest.mark.parametrize("module", [name for name in product() if "import re\n" in sources()[name].read_text()])
def test_pattern_has_no_ambiguous_repetition(module: str) -> None:
    made = [call for call in calls(module) if call.func.attr == "compile"]  # type: ignore[attr-defined]
    direct = [call.args[0] for call in calls(module) if call.func.attr in _CALLS]  # type: ignore[attr-defined]
    literal = [re.compile(argument.value) for argument in direct if _is_text(argument)]  # type: ignore[attr-defined]

    found = compiled(module)
    unseen = len(made) - len(found) + len(direct) - len(literal)

    assert unseen <= _MADE_OF_LITERALS.get(module, 0), f"{module} makes patterns where this test cannot see them"
    for pattern in [*found, *literal]:
        assert not faults(pattern), pattern.pattern


@pytest.mark.parametrize(
    ("pattern", "faulty"),
    [
        (r"(a+)+b", True),
        (r"(?:\w+\s?)*$", True),
        (r"a*a*b", True),
        (r"[^\n`]*\s*```", True),
        (r"user_\w*_account_[\w-]*", True),
        (r"[^@\s]+@[^@\s]+\.[^@\s]+", True),
        (r"(?:x|y+)*z", True),
        (r"\d+-\d+", False),
        (r"\s*\S+", False),
        (r"\{.*\}\s*$", False),
        (r"[a-z]{1,20}[a-z]{1,20}", False),
        (r"a*(?=b)c*", False),
    ],
)
def test_lint_finds_ambiguous_repetitions(pattern: str, faulty: bool) -> None:
    assert bool(faults(re.compile(pattern))) is faulty
