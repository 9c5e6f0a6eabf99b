"""Lists of names in a JSON column."""

from django.core.exceptions import ValidationError


def validate_names(value: object) -> None:
    """Raises ValidationError unless the value is a list of distinct, non-empty strings without blanks around them."""
    if not isinstance(value, list) or not all(
        isinstance(name, str) and name and name == name.strip() for name in value
    ):
        raise ValidationError("Must be a list of names.", code="names")
    if len(set(value)) != len(value):
        raise ValidationError("Each name may be in the list only once.", code="names")
