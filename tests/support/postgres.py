"""A PostgreSQL database of a test's own, where there is a server. CI must have one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

SERVER = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
_CONNECT_S = 5


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """Address of an empty database for one module, dropped at its end."""
    with empty_database() as url:
        yield url


@contextmanager
def empty_database() -> Iterator[str]:
    """The same for who must not share it; within a fixture."""
    try:
        psycopg.connect(SERVER, connect_timeout=_CONNECT_S).close()
    except psycopg.OperationalError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL server ({SERVER}): {error}")
    with made_database() as url:
        yield url


@contextmanager
def made_database() -> Iterator[str]:
    """The same outside of tests. Raises psycopg.OperationalError where there is no server."""
    server = psycopg.connect(SERVER, autocommit=True, connect_timeout=_CONNECT_S)
    name = f"gateway_test_{secrets.token_hex(6)}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlunsplit(urlsplit(SERVER)._replace(scheme="postgres", path=f"/{name}"))
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    server.close()
