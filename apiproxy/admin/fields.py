"""Form fields for lists and pairs, one a line."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget


class NamesField(forms.CharField):
    """Text field for a list of names, one per line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class RatesField(forms.CharField):
    """Text field for numbers by name, one pair per line: `fast 2`."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name} {rate}" for name, rate in value.items()) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        """Parse the lines. Raises ValidationError for an invalid line or a repeated name."""
        rates = dict[str, str]()
        for line in filter(None, (line.strip() for line in str(value or "").splitlines())):
            name, _, rate = line.partition(" ")
            if not rate.strip() or name in rates:
                raise ValidationError(
                    f"{line[:80]!r}: enter one name and its number per line, such as `fast 2`.", code="rates"
                )
            rates[name] = rate.strip()
        return rates

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(dict(initial or {}) != self.to_python(data))
        except ValidationError:
            return True


class PairsField(forms.CharField):
    """Text field for values by name, one pair per line; separator: between them.

    Neither its help nor its errors show values.
    """

    def __init__(self, *, separator: str, **options: Any) -> None:
        attributes = {"rows": 4, "autocomplete": "off", "spellcheck": "false"}
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs=attributes), required=False, **options)
        self._separator = separator

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        space = " " if self._separator == ":" else ""
        return "\n".join(f"{name}{self._separator}{space}{text}" for name, text in value.items())

    def to_python(self, value: Any) -> Any:
        """Parse the lines. Raises ValidationError for an invalid line or a repeated name."""
        pairs = dict[str, str]()
        for at, line in enumerate(str(value or "").splitlines(), 1):
            if not line.strip():
                continue
            name, found, text = line.partition(self._separator)
            name = name.strip()
            if not found or not name:
                raise ValidationError(f"Line {at}: write `name{self._separator}value`.", code="pairs")
            if name in pairs:
                raise ValidationError(f"Line {at}: each name may be there only once.", code="pairs")
            pairs[name] = text.strip()
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(dict(initial or {}) != self.to_python(data))
        except ValidationError:
            return True
