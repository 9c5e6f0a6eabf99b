"""Coding agents, from npm."""

from tests.clients.client import Client

AGENTS: tuple[Client, ...] = ()
