"""The Claude models of November 2026: those that `anthropic` 2.12 names and that are not retired.

Source of ids, release dates, limits and prices: https://platform.claude.com/docs/en/models/<model>/overview (such as
…/models/opus-5-5/overview) and https://platform.claude.com/docs/en/about-claude/pricing; of retirement:
https://platform.claude.com/docs/en/about-claude/model-deprecations. Fable 5.2 and Mythos 5.2 have no such page yet:
theirs are from the model catalog inside the bundled CLI 2.1.330, which agrees with the pages on all others.

A later model is a row that an administrator adds, or a new migration; rows that exist are never overwritten.
"""

from datetime import UTC, datetime
from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_1M = 1_000_000
_200K = 200_000
_128K = 128_000
_64K = 64_000

# USD per MTok: input, output, five-minute cache write, cache read.
_FABLE_5 = ("10", "50", "12.5", "1")
_FABLE_5_1 = ("10", "50", "12.5", "0.25")
_FABLE_5_2 = ("8", "40", "10", "0.2")
_OPUS = ("5", "25", "6.25", "0.5")
_OPUS_5_5 = ("4", "20", "5", "0.2")
_SONNET_4 = ("3", "15", "3.75", "0.3")
_SONNET_5 = ("2", "10", "2.5", "0.2")
_SONNET_5_5 = ("2", "10", "2.5", "0.1")
_HAIKU_4_5 = ("1", "5", "1.25", "0.1")
_HAIKU_5_5 = ("0.1", "0.5", "0.125", "0.01")

# id, family, display name, released, max output, context window, prices
_MODELS: tuple[tuple[str, str, str, str | None, int, int, tuple[str, str, str, str]], ...] = (
    ("claude-fable-5-2", "fable", "Claude Fable 5.2", None, _128K, _1M, _FABLE_5_2),
    ("claude-mythos-5-2", "mythos", "Claude Mythos 5.2", None, _128K, _1M, _FABLE_5_2),
    ("claude-haiku-5-5", "haiku", "Claude Haiku 5.5", "2026-10-07", _128K, _1M, _HAIKU_5_5),
    ("claude-sonnet-5-5", "sonnet", "Claude Sonnet 5.5", "2026-09-28", _128K, _1M, _SONNET_5_5),
    ("claude-opus-5-5", "opus", "Claude Opus 5.5", "2026-09-22", _128K, _1M, _OPUS_5_5),
    ("claude-fable-5-1", "fable", "Claude Fable 5.1", "2026-09-01", _128K, _1M, _FABLE_5_1),
    ("claude-mythos-5-1", "mythos", "Claude Mythos 5.1", "2026-09-01", _128K, _1M, _FABLE_5_1),
    ("claude-opus-5", "opus", "Claude Opus 5", "2026-07-24", _128K, _1M, _OPUS),
    ("claude-sonnet-5", "sonnet", "Claude Sonnet 5", "2026-06-30", _128K, _1M, _SONNET_5),
    ("claude-fable-5", "fable", "Claude Fable 5", "2026-06-09", _128K, _1M, _FABLE_5),
    ("claude-mythos-5", "mythos", "Claude Mythos 5", "2026-06-09", _128K, _1M, _FABLE_5),
    ("claude-opus-4-8", "opus", "Claude Opus 4.8", "2026-05-28", _128K, _1M, _OPUS),
    ("claude-opus-4-7", "opus", "Claude Opus 4.7", "2026-04-16", _128K, _1M, _OPUS),
    ("claude-sonnet-4-6", "sonnet", "Claude Sonnet 4.6", "2026-02-17", _128K, _1M, _SONNET_4),
    ("claude-opus-4-6", "opus", "Claude Opus 4.6", "2026-02-05", _128K, _1M, _OPUS),
    ("claude-opus-4-5-20251101", "opus", "Claude Opus 4.5", "2025-11-24", _64K, _200K, _OPUS),
    ("claude-haiku-4-5-20251001", "haiku", "Claude Haiku 4.5", "2025-10-15", _64K, _200K, _HAIKU_4_5),
    ("claude-sonnet-4-5-20250929", "sonnet", "Claude Sonnet 4.5", "2025-09-29", _64K, _200K, _SONNET_4),
)
_ALIASES = {
    "claude-fable-5-2": ["fable"],
    "claude-opus-5-5": ["opus"],
    "claude-sonnet-5-5": ["sonnet"],
    "claude-haiku-5-5": ["haiku"],
    "claude-opus-4-5-20251101": ["claude-opus-4-5"],
    "claude-haiku-4-5-20251001": ["claude-haiku-4-5"],
    "claude-sonnet-4-5-20250929": ["claude-sonnet-4-5"],
}

# Prompts of more than 100,000 tokens cost five times as much on Haiku 5.5.
_LONG_PROMPTS = {"claude-haiku-5-5": {"long_prompt_above": 100_000, "long_prompt_factor": Decimal(5)}}
_RETIRING = {"claude-sonnet-4-5-20250929": "2026-11-30"}


def add_models(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    model = apps.get_model("apiproxy", "Model")
    for model_id, family, name, released, max_output, window, prices in _MODELS:
        retires = _RETIRING.get(model_id)
        fields = {
            "family": family,
            "display_name": name,
            "created_at": _midnight(released),
            "max_output_tokens": max_output,
            "context_window": window,
            "aliases": _ALIASES.get(model_id, []),
            "lifecycle": "deprecated" if retires else "active",
            "retires_at": _midnight(retires),
            **_LONG_PROMPTS.get(model_id, {}),
        }
        names = ("input_price", "output_price", "cache_write_price", "cache_read_price")
        priced = {name: Decimal(price) for name, price in zip(names, prices, strict=True)}
        model._default_manager.get_or_create(pk=model_id, defaults=fields | priced)


def _midnight(day: str | None) -> datetime | None:
    return datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None


class Migration(migrations.Migration):
    dependencies = [("apiproxy", "0001_initial")]
    operations = [migrations.RunPython(add_models, migrations.RunPython.noop)]
