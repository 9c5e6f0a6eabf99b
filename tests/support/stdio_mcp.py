"""An MCP server over stdio that needs nothing but Python, so that it runs in a jail: `python3 -c` with this text."""

import json
import os
import sys
from typing import Any

TOOLS = [
    {
        "name": "environment",
        "description": "Names of the environment variables.",
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": True},
    },
    {"name": "secret", "description": "A value.", "inputSchema": {"type": "object", "properties": {}}},
    {"name": "die", "description": "Ends the server.", "inputSchema": {"type": "object", "properties": {}}},
]


def call(name: str) -> str:
    if name == "environment":
        return json.dumps(sorted(os.environ))
    if name == "secret":
        return os.environ.get("SECRET", "")
    os._exit(1)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    params = request.get("params") or {}
    match request["method"]:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "local", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": call(params["name"])}]}
    return {}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer(request)}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
