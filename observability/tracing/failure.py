"""Failure of a turn, as its trace keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.core.errors import ProxyError
from observability.vocabulary import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Error of a failed or refused turn, and the last phase it reached."""

    error: ProxyError
    phase: Phase
    diagnostics: Mapping[str, Any]
