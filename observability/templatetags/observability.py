"""Template filters for times, durations and numbers: short, with the exact value on hover."""

from collections.abc import Mapping
from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from observability.models import Trace

register = template.Library()

NOTHING = "–"
SHORT_ID_CHARS = 8

_KILO = 1000
_LEAST_USD = 0.000_05


@register.filter
def moment(at: datetime | float | None, style: str = "time") -> SafeString | str:
    """A time, shown by a script in the browser's time zone. style: `time`, `clock` or `ago`."""
    if at is None or at == "":
        return NOTHING
    when = at.astimezone(UTC) if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    text = when.strftime("%Y-%m-%d %H:%M:%S UTC")
    exact = when.isoformat(timespec="milliseconds")
    return format_html('<time datetime="{}" title="{}" data-moment="{}">{}</time>', exact, text, style, text)


@register.filter
def duration(milliseconds: float | None) -> SafeString | str:
    """A duration from milliseconds: `0.4 ms`, `812 ms`, `3.42 s`, `2 min 5 s`."""
    if milliseconds is None:
        return NOTHING
    return format_html('<span title="{} ms">{}</span>', f"{milliseconds:,.1f}", shown_duration(milliseconds))


def shown_duration(milliseconds: float) -> str:
    """`duration` as plain text."""
    if milliseconds < 0.05:
        return "0 ms"
    if milliseconds < 10 and milliseconds != int(milliseconds):
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


@register.filter
def plain_duration(milliseconds: float) -> str:
    """A duration for a label that cannot have a title: `0`, `500 ms`, `2 s`, `1 min 30 s`."""
    if milliseconds < 1:
        return "0"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    parts = [f"{minutes:.0f} min"] if minutes else []
    return " ".join([*parts, f"{rest:g} s"] if rest or not parts else parts)


@register.filter
def words_of_code(text: str) -> str:
    """An error: a code such as `rate_limit_error` as words, a text as it is."""
    return text.replace("_", " ") if " " not in text else text


@register.filter
def number(value: object) -> str:
    """A whole number with separators: `1,234,567`. Not a number: a name unknown to the template."""
    return f"{value:,.0f}" if isinstance(value, int | float) else NOTHING


@register.filter
def short(value: float | None) -> SafeString | str:
    """A large number: `1.2k`, `34.5M`."""
    if value is None:
        return NOTHING
    text, size = f"{value:,.0f}", float(value)
    for unit in ("k", "M", "G"):
        if abs(size) < _KILO:
            break
        size /= _KILO
        text = f"{size:.1f}{unit}"
    return format_html('<span title="{}">{}</span>', f"{value:,.0f}", text)


@register.filter
def usd(value: float | None) -> SafeString | str:
    """US dollars: `$0.0042`, `$12.34`."""
    if value is None:
        return NOTHING
    text = "$0.00" if not value else f"${value:,.2f}" if value >= 1 else f"${value:.4f}"
    if 0 < value < _LEAST_USD:
        text = "<$0.0001"
    return format_html('<span title="${} estimated">{}</span>', f"{value:.6f}", text)


@register.filter
def size(value: float | None) -> SafeString | str:
    """Bytes: `512 B`, `34.5 kB`, `1.2 MB`."""
    if value is None:
        return NOTHING
    amount, unit = float(value), "B"
    for following in ("kB", "MB", "GB"):
        if amount < _KILO:
            break
        amount, unit = amount / _KILO, following
    text = f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
    return format_html('<span title="{} bytes">{}</span>', f"{value:,.0f}", text)


@register.filter
def words(value: str) -> str:
    """An identifier as words: `client_disconnect` → `client disconnect`."""
    return value.replace("_", " ")


@register.filter
def percent(value: float | None) -> str:
    """A ratio as percent."""
    return NOTHING if value is None else f"{100 * value:.1f}%"


@register.filter
def short_id(value: str) -> str:
    """The last characters of an id."""
    return value if len(value) <= SHORT_ID_CHARS + 1 else f"…{value[-SHORT_ID_CHARS:]}"


@register.filter
def trace_cost(trace: Trace) -> float | None:
    """A trace's cost in US dollars."""
    return None if trace.cost_micro_usd is None else trace.cost_micro_usd / 1_000_000


@register.filter
def not_all(unpriced: int) -> SafeString | str:
    """A plus sign after a total that excludes the cost of some requests."""
    if not unpriced:
        return ""
    return format_html('<span title="{} requests not fully priced"> +</span>', unpriced)


@register.filter
def get_item(mapping: Mapping[str, str], name: str) -> str:
    """Dictionary lookup; empty if missing."""
    return mapping.get(name, "")


@register.filter
def split_words(text: str) -> list[str]:
    """Words of a text, for a loop."""
    return text.split()
