"""Observability as a background service of the gateway, configured from the settings."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from apiproxy.conf import Credential, metrics_dir
from apiproxy.db import process_id
from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.gateway import Gateway
from observability.live.broadcast import Broadcaster
from observability.logs import handler
from observability.metrics import Seat
from observability.service import Config, Service
from observability.tracing.redact import Redactor


class Observability:
    """An `apiproxy.core.lifecycle.BackgroundService`: logs, traces, metrics."""

    def __init__(self, gateway: Gateway) -> None:
        config = gateway.settings
        secrets = [value for value in (config.api_key, *_secret_values(config.credential)) if value]
        self._logging = handler.configure(
            config.log_level, config.log_dir, config.debug, redactor=Redactor(secrets), stream=sys.stderr
        )
        self._service = Service(
            gateway,
            Config(
                log_dir=config.log_dir,
                retention_days=config.trace_retention_days,
                cli=_cli(),
                node=process_id.node(),
                process=process_id.owner(),
                is_gone=process_id.is_gone,
                redis_url=settings.REDIS_URL,
                seat=None if config.seat is None else Seat(config.seat, metrics_dir(config.state_dir, os.getppid())),
                secrets=secrets,
                otel_endpoint=settings.OTEL_ENDPOINT,
            ),
            logging_=self._logging,
        )
        gateway.add(self._service)
        gateway.add(Broadcaster(self._service))

    async def start(self) -> None:
        await self._service.start()

    async def stop(self) -> None:
        """Write the last traces, then the last log lines."""
        await self._service.stop()
        self._logging.stop()


def _cli() -> Path | None:
    """CLI shown to operators; the sdk engine itself reports a missing one."""
    try:
        return bundled_cli()
    except FileNotFoundError:
        return None


def _secret_values(credential: Credential) -> Sequence[str]:
    """Values to redact: the credential's variables, without its addresses and switches."""
    if credential.kind == "demo":
        return []  # the stand-in's key is a word
    marks = ("KEY", "TOKEN", "SECRET")
    return [value for name, value in credential.env.items() if any(mark in name for mark in marks)]
