"""Admin pages for keys, models, agents, usage and sessions."""

from apiproxy.admin import agents, keys, mcp_servers, models, usage, versions

__all__ = ["agents", "keys", "mcp_servers", "models", "usage", "versions"]
