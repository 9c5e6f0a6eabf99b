"""Prices of the seeded models beyond their tokens: the one-hour cache, fast mode, inference in the US.

Sources, read on 2026-11-27: https://platform.claude.com/docs/en/about-claude/pricing (cache writes for an hour cost
twice the input, inference in the US 1.1 times, a web search 10 USD per 1,000, a web fetch nothing, executed code 0.05
USD an hour), https://platform.claude.com/docs/en/build-with-claude/fast-mode (twice the standard prices, on these
models), and the model catalog inside the bundled CLI 2.1.330, which agrees on cache writes, web searches and fast mode.
Prompts above 200,000 tokens cost more on no model of the list any more; Haiku 5.5's 100,000 were seeded before.

An administrator's prices stay: the columns are new, and only those of seeded models that are empty are set.
"""

from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_HOUR_PRICES = {
    "claude-fable-5-2": "16",
    "claude-mythos-5-2": "16",
    "claude-haiku-5-5": "0.2",
    "claude-sonnet-5-5": "4",
    "claude-opus-5-5": "8",
    "claude-fable-5-1": "20",
    "claude-mythos-5-1": "20",
    "claude-opus-5": "10",
    "claude-sonnet-5": "4",
    "claude-fable-5": "20",
    "claude-mythos-5": "20",
    "claude-opus-4-8": "10",
    "claude-opus-4-7": "10",
    "claude-sonnet-4-6": "6",
    "claude-opus-4-6": "10",
    "claude-opus-4-5-20251101": "10",
    "claude-haiku-4-5-20251001": "2",
    "claude-sonnet-4-5-20250929": "6",
}
_FAST = ("claude-fable-5-2", "claude-mythos-5-2", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8")
_WITHOUT_GEO = ("claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929")


def add_prices(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    models = apps.get_model("apiproxy", "Model")._default_manager
    for model_id, price in _HOUR_PRICES.items():
        seeded = models.filter(pk=model_id)
        # Where the input price is not the list's any more, the ratio to it is the better guess.
        seeded.filter(input_price=Decimal(price) / 2).update(cache_write_1h_price=Decimal(price))
    models.filter(pk__in=_FAST).update(speed_factors={"fast": "2"})
    models.filter(pk__in=_WITHOUT_GEO).update(geo_factors={})


class Migration(migrations.Migration):
    dependencies = [("apiproxy", "0005_price_dimensions")]
    operations = [migrations.RunPython(add_prices, migrations.RunPython.noop)]
