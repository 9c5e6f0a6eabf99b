"""Names that operators' scripts, alerts and databases depend on, collected from the running code and its source.

`python -m tests.stable_names` writes the current ones to stable_names.json. Removing one is a breaking change.
"""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "tests" / "stable_names.json"

_PACKAGES = ("apiproxy", "observability", "proxy_site")
_APPS = ("apiproxy", "observability")
_EVENT = re.compile(r"[a-z]+(\.[a-z_]+)+")
_HEADER = re.compile(r"(x|anthropic|openai|ratelimit)(-[a-z0-9]+)+|retry-after|request-id|traceparent")
_JSON_NAME = re.compile(r"[a-z]+([A-Z][a-z0-9]*)+")
_VARIABLE = re.compile(r"(CLAUDE|ANTHROPIC|AWS|DATABASE|REDIS|OTEL|VERTEX|CLOUD_ML)_[A-Z0-9_]+")
_METRIC = re.compile(r"claude_proxy_[a-z_]+")


def collect() -> dict[str, list[str]]:
    """Every name by kind, sorted. Needs configured Django settings."""
    literals = set(_literals())
    return {
        "columns": sorted(_columns()),
        "commands": sorted(_commands()),
        "headers": sorted(filter(_HEADER.fullmatch, literals)),
        "json_names": sorted(set(filter(_JSON_NAME.fullmatch, [*literals, *_fields()]))),
        "log_events": sorted(set(_log_events())),
        "metrics": sorted(_metrics()),
        "migrations": sorted(_migrations()),
        "permissions": sorted(_permissions()),
        "variables": sorted({*filter(_VARIABLE.fullmatch, literals), *_settings()}),
    }


def _trees() -> Iterator[ast.Module]:
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _literals() -> Iterator[str]:
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


def _fields() -> Iterator[str]:
    """Fields of classes: those of a TypedDict are names in JSON."""
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id


def _log_events() -> Iterator[str]:
    for tree in _trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="logger")), args=[ast.Constant(value=str(name)), *_]
                ) if _EVENT.fullmatch(name):
                    yield name
                case ast.keyword(arg="event", value=ast.Constant(value=str(name))) if _EVENT.fullmatch(name):
                    yield name


def _columns() -> Iterator[str]:
    from django.apps import apps

    for label in _APPS:
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            for field in model._meta.local_concrete_fields:
                yield f"{label}: {model._meta.db_table}.{field.column}"


def _permissions() -> Iterator[str]:
    from django.apps import apps

    for label in _APPS:
        for model in apps.get_app_config(label).get_models():
            own = [codename for codename, _ in model._meta.permissions]
            standard = [f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions]
            for codename in [*standard, *own]:
                yield f"{label}.{codename}"


def _migrations() -> Iterator[str]:
    for label in _APPS:
        for path in (ROOT / label / "migrations").glob("0*.py"):
            yield f"{label}.{path.stem}"


def _commands() -> Iterator[str]:
    from django.core.management import BaseCommand, get_commands, load_command_class

    for name, app in get_commands().items():
        if app not in _APPS:
            continue
        yield name
        common = {option for action in BaseCommand().create_parser("", "")._actions for option in action.option_strings}
        parser = load_command_class(app, name).create_parser("manage.py", name)
        for action in parser._actions:
            for option in action.option_strings or [action.dest]:
                if option not in common:
                    yield f"{name} {option}"


def _settings() -> Iterator[str]:
    """Environment variables that are named by fields of the settings' classes."""
    from proxy_site.conf import TABLE

    for setting in TABLE:
        yield setting.name


def _metrics() -> Iterator[str]:
    from observability.metrics import Metrics

    text, _ = Metrics().render("")
    for line in text.decode().splitlines():
        if line.startswith("# TYPE "):
            yield line.split()[2]


def main() -> None:
    """Writes the record."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    RECORDED.write_text(json.dumps(collect(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
