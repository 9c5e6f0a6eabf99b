"""Upstream of tests and benchmarks: the stand-in, controlled by directives in prompts, with faults and a recorder."""

from apiproxy.standin.scripted.app import DirectedStandIn, start
from apiproxy.standin.scripted.recorder import Exchange, Recorder

__all__ = ["DirectedStandIn", "Exchange", "Recorder", "start"]
