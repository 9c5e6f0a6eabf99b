"""Upstream of tests and benchmarks: the stand-in plus directives and a recorder.

Directives in a prompt control the answer and inject faults.
"""

from tests.upstream.app import DirectedStandIn, start
from tests.upstream.recorder import Exchange, Recorder

__all__ = ["DirectedStandIn", "Exchange", "Recorder", "start"]
