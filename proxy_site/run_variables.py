"""The variables about runs and the workers that answer them."""

import os

from proxy_site import env as kinds
from proxy_site.env import Variable

_DAY_MS = 86_400_000
_MS = "milliseconds"

MAX_CONCURRENT = Variable(
    name="CLAUDE_PROXY_MAX_CONCURRENT",
    kind=kinds.integer(1, 1_000),
    default=5,
    meaning="Runs at the same time in a process, each with a CLI process of its own (200–380 MB of memory).",
)
MAX_STARTING: Variable[int | None] = Variable(
    name="CLAUDE_PROXY_MAX_STARTING",
    kind=kinds.integer(1, 1_000),
    default=None,
    default_note="half of the cores, at least 1",
    meaning=(
        "Runs of these that may be on their way to the upstream at once, which takes each a core for 20–30 ms; twice "
        "as many may keep a core busy in whatever way."
    ),
)
QUEUE_MAX = Variable(
    name="CLAUDE_PROXY_QUEUE_MAX",
    kind=kinds.integer(0, 100_000),
    default=100,
    meaning=(
        "Runs that may wait for a slot in a process. When more come, the newest of the key with the most waiting gets a"
        " 529 (docs/operations.md)."
    ),
)
QUEUE_TIMEOUT_MS = Variable(
    name="CLAUDE_PROXY_QUEUE_TIMEOUT_MS",
    kind=kinds.integer(1, _DAY_MS, unit=_MS),
    default=30_000,
    meaning="The longest wait for a slot; then 529.",
)
STALL_TIMEOUT_MS = Variable(
    name="CLAUDE_PROXY_STALL_TIMEOUT_MS",
    kind=kinds.integer(1, _DAY_MS, unit=_MS),
    default=120_000,
    meaning=(
        "The longest silence of the upstream within a run; then 504. Its `ping` events do not count"
        " (docs/operations.md)."
    ),
)
MAX_DURATION_MS = Variable(
    name="CLAUDE_PROXY_MAX_DURATION_MS",
    kind=kinds.integer(1, _DAY_MS, unit=_MS),
    default=3_600_000,
    meaning="The longest run; then 504.",
)
MAX_OUTPUT_CHARS = Variable(
    name="CLAUDE_PROXY_MAX_OUTPUT_CHARS",
    kind=kinds.integer(1, 1_000_000_000, unit="characters"),
    default=500_000,
    meaning="The longest answer; a run that passes it is ended with an error.",
)
HEARTBEAT_MS = Variable(
    name="CLAUDE_PROXY_HEARTBEAT_MS",
    kind=kinds.integer(10, _DAY_MS, unit=_MS),
    default=15_000,
    meaning="The time between the `ping` events of a stream.",
)
UPSTREAM_RETRIES = Variable(
    name="CLAUDE_PROXY_UPSTREAM_RETRIES",
    kind=kinds.integer(0, 10),
    default=1,
    meaning="How often a lost connection, a 500 or a 529 of the upstream is tried again before the first byte is sent.",
)
DRAIN_TIMEOUT_MS = Variable(
    name="CLAUDE_PROXY_DRAIN_TIMEOUT_MS",
    kind=kinds.integer(0, _DAY_MS, unit=_MS),
    default=30_000,
    meaning="How long running answers may go on when the gateway is told to stop.",
)
WARM_WORKERS = Variable(
    name="CLAUDE_PROXY_WARM_WORKERS",
    kind=kinds.integer(0, 1_000),
    default=2,
    meaning="CLI processes kept ready ahead of need, as far as there are free slots for them.",
)
WORKER_MAX_TURNS = Variable(
    name="CLAUDE_PROXY_WORKER_MAX_TURNS",
    kind=kinds.integer(1, 1_000_000),
    default=2_000,
    meaning="Turns after which a CLI process is replaced; up to a tenth earlier, so that not all are at once.",
)
WORKER_MAX_RSS_MB = Variable(
    name="CLAUDE_PROXY_WORKER_MAX_RSS_MB",
    kind=kinds.integer(100, 1_000_000, unit="MB"),
    default=600,
    meaning="Resident memory above which a CLI process is replaced.",
)

# fmt: off
VARIABLES: tuple[Variable[object], ...] = (
    MAX_CONCURRENT, MAX_STARTING, QUEUE_MAX, QUEUE_TIMEOUT_MS, STALL_TIMEOUT_MS, MAX_DURATION_MS, MAX_OUTPUT_CHARS,
    HEARTBEAT_MS, UPSTREAM_RETRIES, DRAIN_TIMEOUT_MS, WARM_WORKERS, WORKER_MAX_TURNS, WORKER_MAX_RSS_MB,
)
# fmt: on


def half_of_the_cores() -> int:
    """Of those that this process may use, at least one: the other half is for this process and for what streams."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // 2)
