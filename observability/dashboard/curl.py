"""A stored request as a command line that sends it again. Pure."""

import json
import shlex
from typing import Any

PATHS = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
KEY_VARIABLE = "GATEWAY_KEY"


def curl_line(body: Any, *, base_url: str, dialect: str) -> str:
    """The command; the key comes from a variable of the shell, because no secret is stored.

    The body is the canonical one (the Messages API), whatever dialect the client spoke: it is what the gateway stores.
    """
    data = json.dumps(body, ensure_ascii=False, indent=2)
    return " \\\n  ".join(
        [
            f"curl {shlex.quote(base_url + PATHS['anthropic'])}",
            f'-H "x-api-key: ${KEY_VARIABLE}"',
            "-H 'content-type: application/json'",
            "-H 'anthropic-version: 2023-06-01'",
            *(["--no-buffer"] if isinstance(body, dict) and body.get("stream") else []),
            f"--data-raw {shlex.quote(data)}",
        ]
    )
