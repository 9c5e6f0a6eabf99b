"""All clients of the lab."""

from tests.clients.client import Client
from tests.clients.entries.agents import AGENTS
from tests.clients.entries.node import NODE
from tests.clients.entries.python import PYTHON

CLIENTS: tuple[Client, ...] = (*AGENTS, *PYTHON, *NODE)
"""In the order of docs/clients.md."""
