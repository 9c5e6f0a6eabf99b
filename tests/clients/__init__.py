"""Conformance lab: real clients in pinned versions against the gateway, on both engines.

`make clients` runs it and writes docs/clients.md. To add a client: a program in `programs/`, an entry in `entries/`,
and its packages in `requirements/` or `package.json`.
"""
