"""The exception of this package."""


class McpError(Exception):
    """An MCP server that cannot be used. The text is for the operator; it has no headers and no query of the URL."""
