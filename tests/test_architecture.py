"""The layers: who may import whom, and how large code may be. docs/architecture.md shows the same table."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("apiproxy", "observability", "proxy_site", "bench")
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Modules (a name covers what lies under it; the longest name counts), the layers that they may import beside
    their own, and the outside packages that they must do without."""

    modules: tuple[str, ...]
    may_import: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


SDK = "claude_agent_sdk"
EVERYTHING = (
    *("values", "observers", "conf", "contract", "engine", "run", "fold", "data", "runtime", "wire"),
    *("anthropic", "openai", "account", "operations", "standin", "admin", "observability"),
)

# From the bottom to the top.
LAYERS = {
    "values": Layer(
        modules=(
            *("apiproxy.core.turns", "apiproxy.core.events", "apiproxy.core.errors", "apiproxy.core.version"),
            *("apiproxy.core.hosts", "apiproxy.keys.allow_lists", "apiproxy.core.offload"),
            *("apiproxy.core.json_pieces", "apiproxy.core.json_values", "apiproxy.core.json_encoding"),
        ),
        without=("django", SDK),
    ),
    "observers": Layer(
        modules=(
            "apiproxy.runs.observers",
            "apiproxy.server.lifecycle",
            "apiproxy.runs.admission",
            "apiproxy.runs.slot",
        ),
        may_import=("values",),
        without=("django", SDK),
    ),
    "conf": Layer(modules=("apiproxy.conf",), without=(SDK,)),
    "contract": Layer(modules=("apiproxy.engines.base",), may_import=("values",), without=("django", SDK)),
    "engine": Layer(modules=("apiproxy.engine",), may_import=("values", "contract"), without=("django",)),
    "run": Layer(
        modules=(
            "apiproxy.runs.run",
            "apiproxy.runs.metering",
            "apiproxy.runs.event_buffer",
            "apiproxy.runs.circuit_breaker",
        ),
        may_import=("values", "observers", "contract"),
        without=("django", SDK),
    ),
    "standin": Layer(modules=("apiproxy.standin",), may_import=("values",), without=("django", SDK)),
    "fold": Layer(modules=("apiproxy.core.message",), may_import=("values",), without=("django", SDK)),
    "data": Layer(
        modules=(
            *(
                "apiproxy.models",
                "apiproxy.catalog",
                "apiproxy.keys.cache",
                "apiproxy.keys.authentication",
                "apiproxy.limits",
            ),
            *(
                "apiproxy.limits.usage",
                "apiproxy.db.batch_worker",
                "apiproxy.limits.accounting",
                "apiproxy.sessions",
                "apiproxy.keys.bootstrap",
            ),
            *(
                "apiproxy.db.guarded_query",
                "apiproxy.limits.reconcile",
                "apiproxy.keys.login_throttle",
                "apiproxy.apps",
                "apiproxy.core.prices",
            ),
            *(
                "apiproxy.limits.cost_report",
                "apiproxy.core.principal",
                "apiproxy.keys.revocation",
                "apiproxy.db.checkpoint",
            ),
            *("apiproxy.db.jobs", "apiproxy.db.sqlite_file", "apiproxy.db.statement_timeout"),
        ),
        may_import=("values", "conf", "fold"),
        without=(SDK,),
    ),
    "runtime": Layer(
        modules=("apiproxy.runs.runtime", "apiproxy.runs.key_watch"),
        may_import=("values", "observers", "conf", "contract", "engine", "run", "data", "standin"),
        without=(SDK,),
    ),
    "wire": Layer(
        modules=("apiproxy.wire",), may_import=("values", "observers", "conf", "run", "fold", "data"), without=(SDK,)
    ),
    "anthropic": Layer(
        modules=("apiproxy.dialects.anthropic",),
        may_import=("values", "observers", "conf", "run", "data", "runtime", "wire"),
        without=(SDK,),
    ),
    "openai": Layer(
        modules=("apiproxy.dialects.openai",),
        may_import=("values", "observers", "conf", "run", "data", "runtime", "wire"),
        without=(SDK,),
    ),
    "account": Layer(
        modules=("apiproxy.account",),
        may_import=("values", "conf", "data", "wire", "anthropic"),
        without=(SDK,),
    ),
    "operations": Layer(
        modules=("apiproxy.http.health",), may_import=("values", "conf", "data", "runtime"), without=(SDK,)
    ),
    "admin": Layer(
        modules=("apiproxy.admin.keys", "apiproxy.admin.models", "apiproxy.admin.usage"),
        may_import=("values", "conf", "data"),
        without=(SDK,),
    ),
    "observability": Layer(modules=("observability",), may_import=("values", "observers"), without=(SDK,)),
    "commands": Layer(
        modules=("apiproxy.management",),
        may_import=(
            *("values", "observers", "conf", "contract", "engine", "standin", "run", "data", "runtime", "wire"),
            "anthropic",
        ),
    ),
    "site": Layer(modules=("proxy_site",), may_import=EVERYTHING, without=(SDK,)),
    "bench": Layer(modules=("bench",), may_import=("values", "standin")),
}

# Imports inside functions, each with the reason why the boundary is right all the same: (module, imported).
LATE_IMPORTS: dict[tuple[str, str], str] = {
    # Django's own way to connect an app: before `ready`, models cannot be imported.
}


@dataclass(frozen=True, slots=True)
class Import:
    """An import of a module by a module; late: inside a function."""

    importer: str
    imported: str
    line: int
    late: bool


def module_name(path: Path) -> str:
    """The dotted name of the module in the file, relative to the project's folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """Every module of the project by its name, without migrations."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {module_name(path): path for path in files if "migrations" not in path.parts}


def imports_in(tree: ast.AST, importer: str, *, known: frozenset[str]) -> Iterator[Import]:
    """Every import in the tree; `from package import module` counts as one of the module, if that is known."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {inner for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}:{node.lineno}: imports are absolute"
            base = str(node.module)
            names = [name if (name := f"{base}.{alias.name}") in known else base for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(importer, name, node.lineno, node in late)


@cache
def all_imports() -> tuple[Import, ...]:
    """Every import in every module of the project."""
    known = frozenset(sources())
    trees = ((name, ast.parse(path.read_text(encoding="utf-8"))) for name, path in sources().items())
    return tuple(found for name, tree in trees for found in imports_in(tree, name, known=known))


def layer_of(module: str) -> str | None:
    """The layer with the longest name that covers the module; None for what is not ours."""
    covering = [
        (len(prefix), name)
        for name, layer in LAYERS.items()
        for prefix in layer.modules
        if module == prefix or module.startswith(f"{prefix}.")
    ]
    return max(covering)[1] if covering else None


def breaks_the_table(found: Import) -> bool:
    """Whether the layer of the importer may not have this import."""
    own = layer_of(found.importer)
    if own is None:  # a package's empty __init__ above the layers
        return False
    theirs = layer_of(found.imported)
    if theirs is None:
        return found.imported.partition(".")[0] in LAYERS[own].without
    return theirs != own and theirs not in LAYERS[own].may_import


def table() -> list[str]:
    """The layers as rows of a Markdown table, as docs/architecture.md shows them."""

    def cell(names: tuple[str, ...]) -> str:
        return ", ".join(names) or "–"

    def modules(layer: Layer) -> str:
        return ", ".join(f"`{module}`" for module in layer.modules)

    return [
        f"| {name} | {modules(layer)} | {cell(layer.may_import)} | {cell(layer.without)} |"
        for name, layer in LAYERS.items()
    ]


def test_every_module_has_a_layer() -> None:
    homeless = [name for name, path in sources().items() if layer_of(name) is None and path.read_text().strip()]
    assert not homeless, "give them a layer in LAYERS and in docs/architecture.md"


def test_imports_go_down_only() -> None:
    broken = [f"{i.importer}:{i.line} imports {i.imported}" for i in all_imports() if breaks_the_table(i)]
    assert not broken


def test_a_layer_is_never_below_what_it_imports() -> None:
    order = list(LAYERS)
    assert not [
        (name, low)
        for name, layer in LAYERS.items()
        for low in layer.may_import
        if order.index(low) >= order.index(name)
    ]


def test_imports_stand_at_the_top_of_their_module() -> None:
    late = {(found.importer, found.imported) for found in all_imports() if found.late}
    assert late == LATE_IMPORTS.keys()


@pytest.mark.parametrize("name", sorted(sources()))
def test_modules_and_functions_stay_small(name: str) -> None:
    text = sources()[name].read_text(encoding="utf-8")
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    sizes = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert not {function: size for function, size in sizes.items() if size > MAX_FUNCTION_LINES}


def test_the_documentation_shows_the_same_table() -> None:
    lines = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| Layer | Modules | May import | Does without |") + 2
    assert lines[start : start + len(LAYERS)] == table(), "\n".join(["the table must be:", *table()])
    assert not lines[start + len(LAYERS)].startswith("|")


@pytest.mark.parametrize(
    ("importer", "source", "broken"),
    [
        ("apiproxy.engines.sdk.pool", "from apiproxy.dialects.anthropic import api", True),
        ("apiproxy.engines.sdk.pool", "from apiproxy import models", True),
        ("apiproxy.engines.sdk.pool", "import django.db", True),
        ("apiproxy.engines.sdk.pool", "import claude_agent_sdk", False),
        ("apiproxy.runs.run", "def f():\n    import apiproxy.engines.sdk.pool", True),
        ("apiproxy.runs.run", "from apiproxy.engines.base import Engine", False),
        ("apiproxy.dialects.openai.api", "import apiproxy.dialects.anthropic.stream", True),
        ("apiproxy.runs.runtime", "import observability.tracing.recorder", True),
        ("observability.tracing.recorder", "from apiproxy import models", True),
        ("observability.tracing.recorder", "from apiproxy.core.events import Event", False),
        ("apiproxy.keys.cache", "from proxy_site import settings", True),
    ],
)
def test_the_rule_finds_what_it_should(importer: str, source: str, broken: bool) -> None:
    (found,) = imports_in(ast.parse(source), importer, known=frozenset({"apiproxy.models", "proxy_site.settings"}))
    assert breaks_the_table(found) is broken
    assert found.late is source.startswith("def")
