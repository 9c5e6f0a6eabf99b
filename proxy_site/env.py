"""Settings read from environment variables: pure functions of a mapping.

An invalid value stops the start with a `SettingError` that names the variable, the value (never a secret's) and what is
allowed. An empty variable counts as not set.
"""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from apiproxy.conf.setting import PREFIX, Derived, Group, Setting, declared, field_names

T = TypeVar("T")
Env = Mapping[str, str]


class SettingError(ImproperlyConfigured):
    """Invalid environment variable. The message is shown to the operator without a traceback."""


def read_settings(settings: type[T], env: Env, *, prefix: str = PREFIX, **given: object) -> T:
    """Instance of a settings class (see `apiproxy.conf.setting`).

    given: further values for derived defaults and for fields that are not settings. Raises SettingError for the first
    invalid value.
    """
    values: dict[str, Any] = dict(given)
    for name, it in declared(settings, prefix):
        if isinstance(it, Group):
            values[name] = read_settings(it.settings, env, prefix=prefix + it.prefix)
        else:
            values[name] = read_value(it, env, values)
    return settings(**{name: value for name, value in values.items() if name in field_names(settings)})


def read_value(setting: Setting[T], env: Env, values: Mapping[str, Any] | None = None) -> T:
    """One setting's value, or its default. Raises SettingError."""
    raw = read_secret(env, setting.name) if setting.secret else env.get(setting.name, "").strip()
    if not raw:
        default: T = setting.default.compute(values or {}) if isinstance(setting.default, Derived) else setting.default
        return default
    try:
        return setting.check.parse(raw)
    except ValueError:
        shown = "its value" if setting.secret else repr(raw)
        message = f"{setting.name}: {shown} is not allowed; it must be {setting.check.allowed}."
    # Raised outside the except block, else the ValueError, which quotes the value, would be part of the traceback.
    raise SettingError(message)


def read_secret(env: Env, name: str) -> str:
    """The secret in `name`, or in the file named by `name_FILE`; empty if neither is set."""
    value, path = env.get(name, "").strip(), env.get(f"{name}_FILE", "").strip()
    if value and path:
        raise SettingError(f"{name} and {name}_FILE are both set; set one of them.")
    if not path:
        return value
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingError(f"{name}_FILE: {path!r} cannot be read ({reason}).") from error
    if not content:
        raise SettingError(f"{name}_FILE: {path!r} is empty; it must hold the secret.")
    return content


def reject_unknown(env: Env, *, prefix: str, known: Collection[str]) -> None:
    """Raises SettingError for an unknown variable with the prefix: it is a typo."""
    for name in sorted(env):
        if name.startswith(prefix) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            raise SettingError(f"{name} is not a setting of this gateway{hint}")
