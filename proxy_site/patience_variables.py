"""The variables about faults: how long clients may take to ask, and when the upstream is given up."""

from apiproxy.conf import BreakerSettings
from proxy_site import env as kinds
from proxy_site.env import Env, Variable

_DAY_MS = 86_400_000
_MS = "milliseconds"

REQUEST_TIMEOUT_MS = Variable(
    name="CLAUDE_PROXY_REQUEST_TIMEOUT_MS",
    kind=kinds.integer(100, _DAY_MS, unit=_MS),
    default=30_000,
    meaning="How long a client may take to send its request, and a second more for each 64 KB of body; then 408.",
)
BODY_MEMORY_MB = Variable(
    name="CLAUDE_PROXY_BODY_MEMORY_MB",
    kind=kinds.integer(64, 1_048_576, unit="megabytes"),
    default=512,
    meaning="How much the bodies of all requests in a process may take together, from the head of each to the end of "
    "its answer. A key alone may take half; more than its share gets a 429.",
)
BREAKER_FAILURES = Variable(
    name="CLAUDE_PROXY_BREAKER_FAILURES",
    kind=kinds.integer(0, 10_000),
    default=10,
    meaning="Lost connections and 5xx of the upstream in a row after which it is not asked for a while, and requests "
    "are refused at once with 502; 0: it is always asked.",
)
BREAKER_WINDOW_MS = Variable(
    name="CLAUDE_PROXY_BREAKER_WINDOW_MS",
    kind=kinds.integer(1, _DAY_MS, unit=_MS),
    default=60_000,
    meaning="The time within which they must have come.",
)
BREAKER_OPEN_MS = Variable(
    name="CLAUDE_PROXY_BREAKER_OPEN_MS",
    kind=kinds.integer(1, _DAY_MS, unit=_MS),
    default=10_000,
    meaning="How long the upstream is not asked then; one request of each key tries it afterwards.",
)

VARIABLES: tuple[Variable[object], ...] = (
    *(REQUEST_TIMEOUT_MS, BODY_MEMORY_MB, BREAKER_FAILURES, BREAKER_WINDOW_MS, BREAKER_OPEN_MS),
)


def read_breaker(env: Env) -> BreakerSettings:
    """When the upstream is given up for a while. Raises SettingError."""
    return BreakerSettings(
        failures=BREAKER_FAILURES.read(env),
        window_ms=BREAKER_WINDOW_MS.read(env),
        open_ms=BREAKER_OPEN_MS.read(env),
    )
