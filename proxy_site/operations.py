"""Observability as a background service of the gateway, configured from the settings."""

import os
import sys
from collections.abc import Sequence

from django.conf import settings

from apiproxy.conf import GatewaySettings, metrics_dir
from apiproxy.db import process_id
from apiproxy.engines.sdk.launch import bundled_cli
from observability.logs import handler
from observability.metrics import Seat
from observability.runtime import ProcessRuntime
from observability.service import Config, install
from observability.tracing.redact import Redactor


class Observability:
    """An `apiproxy.core.lifecycle.BackgroundService`: logs, traces, metrics."""

    def __init__(self, gateway: GatewaySettings) -> None:
        secrets = [value for value in (gateway.api_key, *_secret_values(gateway)) if value]
        self._logging = handler.configure(
            gateway.log_level, gateway.log_dir, gateway.debug, redactor=Redactor(secrets), stream=sys.stderr
        )
        self._service = install(
            ProcessRuntime(),
            Config(
                log_dir=gateway.log_dir,
                retention_days=gateway.trace_retention_days,
                cli=bundled_cli(),
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
        await self._service.start()

    async def stop(self) -> None:
        """Write the last traces, then the last log lines."""
        await self._service.stop()
        self._logging.stop()


def _secret_values(gateway: GatewaySettings) -> Sequence[str]:
    """Values to redact: the credential's variables, without its addresses and switches."""
    marks = ("KEY", "TOKEN", "SECRET")
    return [value for name, value in gateway.credential.env.items() if any(mark in name for mark in marks)]
