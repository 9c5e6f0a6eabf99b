"""Cardinality limit for model labels, since clients can send arbitrary model names."""

from apiproxy.core.text import storable
from observability.models import NAME_CHARS
from observability.stats.rollup import OTHER_MODEL

MAX_MODELS = 64


class ModelNames:
    """Models known from upstream responses. All others are counted as `other`."""

    def __init__(self, limit: int = MAX_MODELS) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def learn(self, model: str) -> None:
        model = storable(model, NAME_CHARS)
        if model and model != OTHER_MODEL and len(self._known) < self._limit:
            self._known.add(model)

    def label(self, model: str) -> str:
        model = storable(model, NAME_CHARS)
        return model if model in self._known else OTHER_MODEL
