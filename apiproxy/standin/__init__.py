"""A stand-in for the Messages API on loopback: the upstream of the tests, and of a gateway without a credential.

What it answers is steered from the last user text (`directives.py`); without directives it gives a friendly demo
answer that says what it is (`demo.py`). Started in this process by `start`, or in its own by
`python -m apiproxy.standin`.
"""

from apiproxy.standin.app import StandIn
from apiproxy.standin.recorder import Exchange, Recorder
from apiproxy.standin.server import StandInServer, start

__all__ = ["Exchange", "Recorder", "StandIn", "StandInServer", "start"]
