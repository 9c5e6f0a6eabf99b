"""Brings the gateway and its observability together: neither imports the other."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from apiproxy.account.sessions import stats as sessions_stats
from apiproxy.conf import GatewaySettings, metrics_dir
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.db import process_id
from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.engines.sdk.pool import WorkerSnapshot
from apiproxy.http.request import authenticated
from apiproxy.keys.authentication import presented_secret
from apiproxy.limits.accounting import UsageAccounting, usage_accounting
from apiproxy.runs.admission import QueueSnapshot
from apiproxy.runs.circuit_breaker import BreakerSnapshot
from apiproxy.runs.runtime import holder
from observability.logs import handler
from observability.metrics import Seat
from observability.ports import Operator
from observability.service import Config, install
from observability.tracing.redact import Redactor

_LOOK = "observability.view_trace"
_CANCEL = "observability.cancel_run"


class Gateway:
    """An `observability.ports.GatewayPort`."""

    def queue(self) -> QueueSnapshot:
        """How full the gateway is."""
        return holder.current().queue_snapshot()

    def upstream(self) -> BreakerSnapshot:
        """Whether the upstream is asked."""
        return holder.current().upstream()

    def workers(self) -> Sequence[WorkerSnapshot]:
        """Every CLI process."""
        return holder.current().workers()

    def cancel(self, run_id: str) -> bool:
        """Ends a run."""
        return holder.current().cancel(run_id)

    def retire(self, worker_id: str) -> bool:
        """Ends a worker."""
        return holder.current().pool.retire(worker_id)

    def lost(self, process: str) -> None:
        """Gives back what it had reserved."""
        usage_accounting.give_back(process)

    def settlements(self) -> UsageAccounting:
        """How far what keys have used is in the database."""
        return usage_accounting

    def config(self) -> Mapping[str, Any]:
        """The settings to show."""
        gateway: GatewaySettings = settings.GATEWAY
        return {
            "stallTimeoutMs": gateway.stall_timeout_ms,
            "maxDurationMs": gateway.max_duration_ms,
            "maxOutputChars": gateway.max_output_chars,
            "maxConcurrent": gateway.max_concurrent,
            "queueTimeoutMs": gateway.queue_timeout_ms,
            "queueMax": gateway.queue_max,
            "warmWorkers": gateway.warm_workers,
            "claudeExecutable": str(bundled_cli()),
            "logDir": str(gateway.log_dir),
            "debug": gateway.debug,
            "credential": gateway.credential.kind,
        }

    async def sessions_stats(self) -> Mapping[str, Any]:
        """The sums over all sessions."""
        return await sessions_stats()

    async def authorise(self, request: HttpRequest) -> Operator | None:
        """A key of scope `admin`, or the login of staff who may see traces, as for the dashboard.

        A key that is not good enough is not made up for by a login. Raises ProxyError where nobody can say who asks:
        DATABASE_AWAY, and RATE_LIMITED after many wrong keys from the client's address.
        """
        if presented_secret(request.headers):
            try:
                principal = await authenticated(request)
            except ProxyError as error:
                if error.kind is FailureKind.UNAUTHENTICATED:
                    return None
                raise  # nobody can say who it is, or not now
            return Operator(name=principal.label, by="key", may_change=True) if "admin" in principal.scopes else None
        if not hasattr(request, "auser"):
            return None
        user = await request.auser()
        if not (user.is_active and user.is_staff and await user.ahas_perm(_LOOK)):
            return None
        return Operator(name=user.get_username(), by="login", may_change=await user.ahas_perm(_CANCEL))


class Observability:
    """An `apiproxy.server.lifecycle.BackgroundService`: logs, traces, metrics."""

    def __init__(self, gateway: GatewaySettings) -> None:
        secrets = [value for value in (gateway.api_key, *_secret_values(gateway)) if value]
        self._logging = handler.configure(
            gateway.log_level, gateway.log_dir, gateway.debug, redactor=Redactor(secrets), stream=sys.stderr
        )
        self._service = install(
            Gateway(),
            Config(
                log_dir=gateway.log_dir,
                retention_days=gateway.trace_retention_days,
                node=process_id.node(),
                process=process_id.owner(),
                is_gone=process_id.is_gone,
                redis_url=settings.REDIS_URL,
                seat=None if gateway.seat is None else Seat(gateway.seat, metrics_dir(gateway.state_dir, os.getppid())),
                secrets=secrets,
                otel_endpoint=settings.OTEL_ENDPOINT,
            ),
            logging_=self._logging,
        )

    async def start(self) -> None:
        """Listens from now on."""
        await self._service.start()

    async def stop(self) -> None:
        """Writes the last traces, then the last log lines."""
        await self._service.stop()
        self._logging.stop()


def _secret_values(gateway: GatewaySettings) -> Sequence[str]:
    """What must never be in a row or a line: the credential's variables, but not its addresses and switches."""
    marks = ("KEY", "TOKEN", "SECRET")
    return [value for name, value in gateway.credential.env.items() if any(mark in name for mark in marks)]
