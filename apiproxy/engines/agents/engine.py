"""The engine of agents: runs of many model calls, each on a worker of its own."""

from collections.abc import Awaitable, Callable, Iterable

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.core.offload import offload
from apiproxy.core.prices import PriceTable
from apiproxy.core.turns import EngineName
from apiproxy.engines.agents.answer import AgentAnswer
from apiproxy.engines.agents.launch import AgentLaunch
from apiproxy.engines.agents.metering import Price, RunMeter
from apiproxy.engines.agents.model_request import CallRefusedError, named_sources
from apiproxy.engines.agents.place import Places
from apiproxy.engines.agents.pool import AgentLimits, AgentPool
from apiproxy.engines.agents.relay import Relay
from apiproxy.engines.agents.watch import JailWatch
from apiproxy.engines.base import EngineRequest, WorkerSnapshot
from apiproxy.mcp.http_client import Resolve


class AgentEngine:
    """`engines.base.Engine` for agents. Bound to one event loop.

    resolve: addresses of MCP servers. jail_problem: why jails do not hold here, empty if they do. price, prices: see
    `RunMeter`. context_window: of a model, None if it is unknown.
    """

    def __init__(
        self,
        *,
        launch: AgentLaunch,
        relay: Relay,
        resolve: Resolve,
        jail_problem: Callable[[], Awaitable[str]],
        price: Price,
        prices: Callable[[], PriceTable],
        limits: AgentLimits,
        statuses: McpStatuses | None = None,
        context_window: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._pool = AgentPool(
            places=Places(launch=launch, relay=relay, watch=JailWatch()),
            resolve=resolve,
            limits=limits,
            statuses=statuses,
        )
        self._jail_problem = jail_problem
        self._price = price
        self._prices = prices
        self._context_window = context_window

    @property
    def name(self) -> EngineName:
        return "agents"

    async def begin(self, request: EngineRequest) -> AgentAnswer:
        """Hand the request to a worker of its agent.

        Raises ProxyError: JAIL_UNAVAILABLE, MCP_SERVER_DOWN, and as `engines.base.AnswerSource`.
        """
        agent = request.agent
        assert agent is not None, "the engine answers for agents only"
        await self._check_jail(agent)
        meter = await self._meter(agent, request)
        if not self._pool.has_idle(agent):
            request.on_waiting()
        worker = await self._pool.take(agent)
        worker.run_id = request.run_id
        try:
            if not request.may_begin():
                raise ProxyError(FailureKind.CANCELLED, "The request was cancelled.")
            answer = AgentAnswer(worker, request, meter)
            await answer.start()
        except BaseException:  # including cancellation: no caller will release this answer
            worker.retire()
            raise
        return answer

    def keep(self, agents: Iterable[AgentSpec]) -> None:
        """Keep workers ready for these agents, as their `min_idle` says."""
        self._pool.keep(agents)

    async def warm(self) -> bool:
        """Workers are started for agents, which `keep` names."""
        return True

    @property
    def ready(self) -> bool:
        return True

    def snapshot(self) -> list[WorkerSnapshot]:
        """All workers."""
        return [
            WorkerSnapshot(
                id=worker.id,
                pid=worker.pid,
                state=worker.state.value,
                turns=int(worker.run_id is not None),
                rss_bytes=worker.rss_bytes(),
                started_at=worker.started_at,
                run_id=worker.run_id,
                model=worker.agent.name,
            )
            for worker in self._pool.workers
        ]

    def retire(self, worker_id: str) -> bool:
        """End an idle worker; False if there is no such worker."""
        return self._pool.retire(worker_id)

    async def close(self) -> None:
        """End all workers."""
        await self._pool.close()

    async def _check_jail(self, agent: AgentSpec) -> None:
        if agent.jailed and (problem := await self._jail_problem()):
            message = f"The agent {agent.slug} needs a jail for its tools, and there is none here: {problem}"
            raise ProxyError(FailureKind.JAIL_UNAVAILABLE, message)

    async def _meter(self, agent: AgentSpec, request: EngineRequest) -> RunMeter:
        try:
            sources = await offload(request.body_bytes, named_sources, request.body)
        except CallRefusedError as refused:
            raise ProxyError(FailureKind.INVALID_REQUEST, refused.message) from None
        return RunMeter(
            agent,
            price=self._price,
            prices=self._prices(),
            on_step=request.on_step,
            on_sent=request.on_sent,
            sources=sources,
            context_window=self._context_window(agent.model),
        )
