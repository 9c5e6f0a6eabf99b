"""Bulk upsert that can add to existing values; Django's `bulk_create` can only replace them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

_CHUNK = 1_000
"""Rows per statement."""


class Upsert:
    """Upsert statement for one model, for SQLite and PostgreSQL.

    unique: columns of the conflict constraint. On conflict, `add` columns are summed, `least` and `greatest` keep the
    smaller or larger value, `latest` columns follow the `greatest` column that they map to, and `replace` columns are
    overwritten. All other columns are written on insert only.
    """

    def __init__(
        self,
        model: type[models.Model],
        *,
        columns: Sequence[str],
        unique: Sequence[str],
        replace: Sequence[str] = (),
        add: Sequence[str] = (),
        least: Sequence[str] = (),
        greatest: Sequence[str] = (),
        latest: Mapping[str, str] | None = None,
    ) -> None:
        self._fields = [_field(model, name) for name in columns]
        self._table = model._meta.db_table
        sets = [f"{_quoted(name)} = excluded.{_quoted(name)}" for name in replace]
        sets += [f"{_quoted(name)} = {self._current(name)} + excluded.{_quoted(name)}" for name in add]
        sets += [self._set_if(name, name, "<") for name in least]
        sets += [self._set_if(name, by, ">=") for name, by in (latest or {}).items()]
        sets += [self._set_if(name, name, ">") for name in greatest]
        action = f"UPDATE SET {', '.join(sets)}" if sets else "NOTHING"
        self._head = f"INSERT INTO {_quoted(self._table)} ({_listed(columns)})"
        self._tail = f"ON CONFLICT ({_listed(unique)}) DO {action}"

    def run(self, rows: Iterable[Mapping[str, Any]], *, using: str = DEFAULT_DB_ALIAS) -> None:
        """Write the rows in the caller's transaction; keys must be unique. Raises DatabaseError."""
        connection = connections[using]
        prepare = [(field.attname, _converter(field, connection)) for field in self._fields]
        prepared = [[convert(row[name]) if convert else row[name] for name, convert in prepare] for row in rows]
        send = self._send_one_by_one if connection.vendor == "sqlite" else self._send_as_columns
        for start in range(0, len(prepared), _CHUNK):
            send(connection, prepared[start : start + _CHUNK])

    def _send_one_by_one(self, connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join(["%s"] * len(self._fields))
        with connection.cursor() as cursor:
            cursor.executemany(f"{self._head} VALUES ({places}) {self._tail}", rows)

    def _send_as_columns(self, connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]) -> None:
        """Send one array per column, so that the statement is short and independent of the number of rows.

        With one placeholder per value, psycopg took ten times as long to parse the statement as PostgreSQL to run it.
        """
        arrays = ", ".join(f"%s::{field.db_type(connection)}[]" for field in self._fields)
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            # Identifiers come from our models; every value is a parameter.
            cursor.execute(f"{self._head} SELECT * FROM unnest({arrays}) {self._tail}", columns)  # noqa: S608

    def _current(self, column: str) -> str:
        return f"{_quoted(self._table)}.{_quoted(column)}"

    def _set_if(self, column: str, by: str, comparison: str) -> str:
        name, current = _quoted(column), self._current(column)
        condition = f"excluded.{_quoted(by)} {comparison} {self._current(by)}"
        return f"{name} = CASE WHEN {condition} THEN excluded.{name} ELSE {current} END"


def _field(model: type[models.Model], name: str) -> Any:
    """Model field of a column (`trace_id`)."""
    field = next(field for field in model._meta.concrete_fields if field.attname == name)
    assert field.column == name, "attribute and column names must be equal"
    return field


def _converter(field: Any, connection: BaseDatabaseWrapper) -> Callable[[Any], Any] | None:
    """Conversion to the driver's type; None if not needed (numbers, text).

    Calling `get_db_prep_save` for every value took half of the time of a write.
    """
    if isinstance(field, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value
    if isinstance(field, models.JSONField):
        return lambda value: field.get_db_prep_save(value, connection)
    return None


def _quoted(name: str) -> str:
    return f'"{name}"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_quoted, names))
