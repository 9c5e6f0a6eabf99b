"""Client of MCP servers for agents: http (streamable) and sse, with bounded sizes and times."""
