"""Upstream of tests and benchmarks: the stand-in, controlled by directives in prompts, with faults and a recorder."""

from tests.upstream.app import DirectedStandIn, start
from tests.upstream.recorder import Exchange, Recorder

__all__ = ["DirectedStandIn", "Exchange", "Recorder", "start"]
