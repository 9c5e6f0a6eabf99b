"""The variables about several processes and several machines."""

from apiproxy.conf import MAX_PROCESSES
from proxy_site import env as kinds
from proxy_site.env import Variable

PROCESSES = Variable(
    name="CLAUDE_PROXY_PROCESSES",
    kind=kinds.integer(1, MAX_PROCESSES),
    default=1,
    meaning="Serve processes on the one address, as `serve --processes`; each has slots and workers of its own.",
)
WATCHDOG_MS = Variable(
    name="CLAUDE_PROXY_WATCHDOG_MS",
    kind=kinds.integer(0, 86_400_000, unit="milliseconds"),
    default=10_000,
    meaning="A serve process whose event loop has been stuck for so long (in whole seconds, at least 3) is killed and "
    "replaced; 0: never.",
)
NODE = Variable(
    name="CLAUDE_PROXY_NODE",
    kind=kinds.string("a name of at most 64 characters, other than that of any other machine"),
    default="",
    default_note="the host name",
    meaning="This machine's name in the dashboard and in traces.",
)

VARIABLES: tuple[Variable[object], ...] = (PROCESSES, WATCHDOG_MS, NODE)
