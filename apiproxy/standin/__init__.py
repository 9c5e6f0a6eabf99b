"""Embedded stand-in for the Messages API: the upstream in demo mode.

Served on loopback. Its answers are scripts (`scenarios.py`), chosen by the code that starts it; a prompt
cannot choose one.
"""

from apiproxy.standin.app import StandIn
from apiproxy.standin.script import ChooseScript, Script
from apiproxy.standin.server import StandInServer, listen, start

__all__ = ["ChooseScript", "Script", "StandIn", "StandInServer", "listen", "start"]
