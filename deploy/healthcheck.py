"""For the container's HEALTHCHECK: exits with 0 where the gateway in this container answers /healthz.

No more than the standard library, and no urllib: that one would ask the HTTP_PROXY that is meant for the upstream.
"""

import http.client
import os
import sys

_TIMEOUT_S = 4


def main() -> int:
    """0 where it answers, 1 where it does not."""
    port = int(os.environ.get("CLAUDE_PROXY_PORT") or 3456)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
