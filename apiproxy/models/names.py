"""Lists of names in a JSON column."""

from django.core.exceptions import ValidationError

from apiproxy.hosts import host_pattern


def validate_names(value: object) -> None:
    """Raises ValidationError unless the value is a list of distinct, non-empty strings without blanks around them."""
    if not isinstance(value, list) or not all(
        isinstance(name, str) and name and name == name.strip() for name in value
    ):
        raise ValidationError("Must be a list of names.", code="names")
    if len(set(value)) != len(value):
        raise ValidationError("Each name may be in the list only once.", code="names")


def validate_hosts(value: object) -> None:
    """Raises ValidationError unless the value is a list of host names, addresses, `*.example.com`, `*` or `none`."""
    validate_names(value)
    for entry in value if isinstance(value, list) else ():
        try:
            host_pattern(entry)
        except ValueError:
            raise ValidationError(f"{entry!r} is not a host name: no scheme, port or path.", code="hosts") from None
