"""Stored request as a curl command line."""

import json
import shlex
from typing import Any

PATH = "/v1/messages"
KEY_VARIABLE = "GATEWAY_KEY"


def curl_line(body: Any, *, base_url: str) -> str:
    """The command. The key is a shell variable, because no secret is stored.

    The stored body is always that of the Messages API, whichever dialect the client used.
    """
    data = json.dumps(body, ensure_ascii=False, indent=2)
    return " \\\n  ".join(
        [
            f"curl {shlex.quote(base_url + PATH)}",
            f'-H "x-api-key: ${KEY_VARIABLE}"',
            "-H 'content-type: application/json'",
            "-H 'anthropic-version: 2023-06-01'",
            *(["--no-buffer"] if isinstance(body, dict) and body.get("stream") else []),
            f"--data-raw {shlex.quote(data)}",
        ]
    )
