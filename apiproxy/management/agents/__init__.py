"""Agents and MCP servers as a YAML file, for `manage.py agents`."""
