"""Settings of a gateway that keeps no traces, counts no metrics and writes no log: to measure what those cost."""

from proxy_site import settings
from proxy_site.settings import *  # noqa: F403 — all but one

GATEWAY_BACKGROUND_SERVICES = [
    path for path in settings.GATEWAY_BACKGROUND_SERVICES if not path.startswith("proxy_site.")
]
