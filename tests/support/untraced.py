"""Settings of a gateway that keeps no traces, counts no metrics and writes no log: to measure what those cost."""

from proxy_site import settings
from proxy_site.settings import *  # noqa: F403 — all but one

GATEWAY_COMPANIONS = [path for path in settings.GATEWAY_COMPANIONS if not path.startswith("proxy_site.")]
