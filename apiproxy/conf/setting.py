"""Declaration of settings as dataclass fields, and the table of them.

    class GatewaySettings:
        port: int = setting(3456, integer(0, 65_535), "Port to listen on.")

The environment variable is `CLAUDE_PROXY_`, the group's prefix and the field's name in capitals, unless `env` names it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar, overload

from apiproxy.conf.checks import Check

T = TypeVar("T")
D = TypeVar("D")

PREFIX = "CLAUDE_PROXY_"
_SETTING = "setting"
_GROUP = "group"


@dataclass(frozen=True, slots=True)
class Derived(Generic[D]):
    """Default computed at startup from the values read before it; note describes it in the documentation."""

    note: str
    compute: Callable[[Mapping[str, Any]], D]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One environment variable.

    default_note replaces the default in the documentation. A secret can also be read from a file named by the same
    variable with the suffix `_FILE`, and is never shown in errors.
    """

    name: str
    check: Check[T]
    default: Any
    description: str
    default_note: str = ""
    secret: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The variable's name, and its `_FILE` form for a secret."""
        return (self.name, f"{self.name}_FILE") if self.secret else (self.name,)


@dataclass(frozen=True, slots=True)
class Group:
    """Nested settings class; prefix is added to the outer one."""

    settings: type[Any]
    prefix: str


@overload
def setting(
    default: Derived[D], check: Check[T], description: str, *, env: str = ..., note: str = ..., secret: bool = ...
) -> D | T: ...
@overload
def setting(
    default: D, check: Check[T], description: str, *, env: str = ..., note: str = ..., secret: bool = ...
) -> D | T: ...
def setting(
    default: Any, check: Check[Any], description: str, *, env: str = "", note: str = "", secret: bool = False
) -> Any:
    """Dataclass field read from the environment.

    env overrides the variable's name; note describes the default in the documentation.
    """
    declared = Setting(
        name=env,
        check=check,
        default=default,
        description=description,
        default_note=default.note if isinstance(default, Derived) else note,
        secret=secret,
    )
    metadata = {_SETTING: declared}
    if isinstance(default, Derived):
        return field(repr=not secret, metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=default.copy, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def group(settings: type[T], prefix: str) -> T:
    """Dataclass field holding a nested settings class."""
    return field(default_factory=settings, metadata={_GROUP: Group(settings, prefix)})


def declared(settings: type[Any], prefix: str = PREFIX) -> Iterator[tuple[str, Setting[Any] | Group]]:
    """Names and declarations of the settings of a class, in order.

    Fields that are not settings are skipped.
    """
    for it in fields(settings):
        if _GROUP in it.metadata:
            yield it.name, it.metadata[_GROUP]
        elif _SETTING in it.metadata:
            found: Setting[Any] = it.metadata[_SETTING]
            yield it.name, found if found.name else replace(found, name=prefix + it.name.upper())


def table(settings: type[Any], prefix: str = PREFIX) -> Iterator[Setting[Any]]:
    """All settings of a class, including those of its groups."""
    for _, it in declared(settings, prefix):
        if isinstance(it, Group):
            yield from table(it.settings, prefix + it.prefix)
        else:
            yield it


def field_names(settings: type[Any]) -> frozenset[str]:
    """Names of all fields of a settings class."""
    return frozenset(it.name for it in fields(settings))
