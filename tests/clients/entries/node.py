"""Clients from npm that are libraries."""

from tests.clients.client import Client

NODE: tuple[Client, ...] = ()
