"""Settings of a gateway with scripted agents."""

from proxy_site import settings
from proxy_site.settings import *  # noqa: F403 — all but one

GATEWAY_BACKGROUND_SERVICES = [
    *settings.GATEWAY_BACKGROUND_SERVICES,
    "tests.support.scripted_agents.ScriptedAgents",
]
