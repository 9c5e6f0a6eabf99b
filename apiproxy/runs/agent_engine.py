"""The engine of agents with its upstream, from the settings and the catalogue."""

import asyncio
import functools

from apiproxy.catalog import Catalog
from apiproxy.conf import GatewaySettings
from apiproxy.core.addresses import checked_addresses
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.db.guarded_query import DatabaseUnavailableError
from apiproxy.engines.agents.engine import AgentEngine
from apiproxy.engines.agents.folder import agent_folders
from apiproxy.engines.agents.jail import JailLimits
from apiproxy.engines.agents.launch import AgentLaunch
from apiproxy.engines.agents.pool import AgentLimits
from apiproxy.engines.agents.relay import Relay
from apiproxy.engines.agents.self_test import JailTest
from apiproxy.engines.http.upstream import Upstream
from apiproxy.engines.sdk.launch import bundled_cli

KEEP_EVERY_S = 30.0
_MAX_BODY_BYTES = 32 * 1024 * 1024
_CALLS_PER_RUN = 8
"""Connections to the upstream for one run: programs in the jail may call the model side by side."""
_IDLE_PER_RUN = 2
"""Workers kept ready for every run that may be active."""


class GatewayAgents(AgentEngine):
    """The engine, which also closes its upstream."""

    def __init__(self, settings: GatewaySettings, catalog: Catalog, statuses: McpStatuses) -> None:
        """Raise FileNotFoundError if there is no CLI."""
        base_url = settings.credential.base_url
        assert base_url is not None, "the settings reject credentials without an address for this engine"
        runs = settings.slots("agents")
        self._upstream = Upstream(base_url, settings.credential.env, max_connections=runs * _CALLS_PER_RUN)
        launch = agent_launch(settings)
        self.jail = JailTest(launch, settings.state_dir)
        super().__init__(
            launch=launch,
            relay=Relay(self._upstream, max_body_bytes=_MAX_BODY_BYTES),
            resolve=functools.partial(checked_addresses, private_hosts=settings.allowed.private_hosts),
            jail_problem=self.jail.problem,
            price=catalog.priced,
            prices=catalog.prices,
            statuses=statuses,
            limits=AgentLimits(max_workers=runs * (1 + _IDLE_PER_RUN)),
            context_window=functools.partial(_context_window, catalog),
        )

    async def close(self) -> None:
        await super().close()
        await self._upstream.close()


def agent_launch(settings: GatewaySettings) -> AgentLaunch:
    """Make the launch settings of agents. Raises FileNotFoundError if there is no CLI."""
    jail = settings.jail
    return AgentLaunch(
        cli=bundled_cli(),
        folders=agent_folders(settings.state_dir),
        limits=JailLimits(memory_mb=jail.memory_mb, disk_mb=jail.disk_mb, processes=jail.processes),
        readable=jail.paths,
        uids=jail.uids,
        upstream_retries=settings.upstream_retries,
        stall_timeout_ms=settings.stall_timeout_ms,
    )


def _context_window(catalog: Catalog, model: str) -> int | None:
    known = catalog.known(model)
    return None if known is None else known.context_window


async def keep_workers(catalog: Catalog, engine: AgentEngine) -> None:
    """Keep workers ready for the enabled agents, until cancelled."""
    while True:
        try:
            found = await catalog.models()
        except DatabaseUnavailableError:
            pass  # those of the last look at the catalogue remain
        else:
            engine.keep([it.agent for it in found if it.agent is not None and it.enabled and it.unavailable is None])
        await asyncio.sleep(KEEP_EVERY_S)
