"""The variables about keys, budgets and sessions: what a new key gets, and how long a conversation is remembered."""

from decimal import Decimal, InvalidOperation

from apiproxy.conf import AllowLists, KeyDefaults, SessionSettings
from apiproxy.core.hosts import host_pattern
from proxy_site import env as kinds
from proxy_site.env import Env, Kind, Variable

_MAX_USD = Decimal(10_000_000)


def _usd(raw: str) -> Decimal:
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        raise ValueError from None
    if not Decimal(0) <= amount <= _MAX_USD or amount != round(amount, 4):
        raise ValueError
    return amount


_USD = Kind(f"an amount in USD from 0 to {_MAX_USD}, with at most 4 decimals", _usd)


def _limit(name: str, what: str) -> Variable[int | None]:
    return Variable(
        name=f"CLAUDE_PROXY_KEY_{name}",
        kind=kinds.integer(1, 2_000_000_000),
        default=None,
        meaning=f"New keys: {what}.",
    )


def _budget(period: str, what: str) -> Variable[Decimal | None]:
    return Variable(name=f"CLAUDE_PROXY_KEY_BUDGET_{period}_USD", kind=_USD, default=None, meaning=f"New keys: {what}.")


KEY_REQUESTS = _limit("REQUESTS_PER_MINUTE", "requests within any 60 seconds")
KEY_TOKENS = _limit("TOKENS_PER_MINUTE", "input and output tokens within any 60 seconds")
KEY_RUNS = _limit("CONCURRENT_RUNS", "runs at the same time")
KEY_BUDGET_DAY = _budget("DAY", "USD to be spent in a day (UTC)")
KEY_BUDGET_MONTH = _budget("MONTH", "USD to be spent in a calendar month (UTC)")
KEY_BUDGET_TOTAL = _budget("TOTAL", "USD to be spent in all")
KEY_BUDGET_WARN_PERCENT = Variable(
    name="CLAUDE_PROXY_KEY_BUDGET_WARN_PERCENT",
    kind=kinds.integer(1, 100, unit="percent"),
    default=80,
    meaning="New keys: the part of a budget from which on answers carry `x-proxy-budget-warning`.",
)
SESSION_TTL_HOURS = Variable(
    name="CLAUDE_PROXY_SESSION_TTL_HOURS",
    kind=kinds.integer(1, 876_000, unit="hours"),
    default=24,
    meaning="How long a session is remembered after its last turn.",
)
SESSION_MAX = Variable(
    name="CLAUDE_PROXY_SESSION_MAX",
    kind=kinds.integer(1, 1_000_000),
    default=500,
    meaning="Sessions that are remembered for each key; the one that was used longest ago goes first.",
)
SESSION_BYTES = Variable(
    name="CLAUDE_PROXY_SESSION_BYTES_PER_KEY",
    kind=kinds.integer(1, 2**50, unit="bytes"),
    default=268_435_456,
    meaning="Kept messages of all of a key's sessions; a request that would pass it is refused with 413.",
)
STORE_SESSIONS = Variable(
    name="CLAUDE_PROXY_STORE_SESSIONS",
    kind=kinds.boolean(),
    default=False,
    meaning="Keeps the messages of sessions for keys that allow it (`store_bodies`), so that a client may send only "
    "what is new (`x-conversation-mode: append`).",
)
ALLOW_UNPRICED = Variable(
    name="CLAUDE_PROXY_ALLOW_UNPRICED",
    kind=kinds.boolean(),
    default=False,
    meaning="Lets keys with a budget use what has no price in the table of models: such models, speeds, regions and "
    "server tools. Only the known part of their cost counts against the budget.",
)
ALLOWED_BETAS = Variable(
    name="CLAUDE_PROXY_ALLOWED_BETAS",
    kind=kinds.csv(kinds.string(), allowed="beta names separated by commas; * for any characters; `none`"),
    default=(),
    default_note="all",
    meaning="Values of `anthropic-beta` that keys may send; a key's own list only narrows it.",
)
ALLOWED_SERVER_TOOLS = Variable(
    name="CLAUDE_PROXY_ALLOWED_SERVER_TOOLS",
    kind=kinds.csv(kinds.string(), allowed="tool types separated by commas; * for any characters; `none`"),
    default=(),
    default_note="all",
    meaning="Types of tools run by the upstream (`web_search*`) that keys may use; a key's own list only narrows it.",
)
ALLOWED_MCP_HOSTS = Variable(
    name="CLAUDE_PROXY_ALLOWED_MCP_HOSTS",
    kind=kinds.csv(
        Kind("a host name", host_pattern), allowed="host names or *.example.com, separated by commas; `none`"
    ),
    default=(),
    default_note="all",
    meaning="Hosts that `mcp_servers` in a request may name; a key's own list only narrows it.",
)

# fmt: off
VARIABLES: tuple[Variable[object], ...] = (
    KEY_REQUESTS, KEY_TOKENS, KEY_RUNS, KEY_BUDGET_DAY, KEY_BUDGET_MONTH, KEY_BUDGET_TOTAL, KEY_BUDGET_WARN_PERCENT,
    SESSION_TTL_HOURS, SESSION_MAX, SESSION_BYTES, STORE_SESSIONS, ALLOW_UNPRICED,
    ALLOWED_BETAS, ALLOWED_SERVER_TOOLS, ALLOWED_MCP_HOSTS,
)
# fmt: on


def read_key_defaults(env: Env) -> KeyDefaults:
    """What a new key gets. Raises SettingError."""
    return KeyDefaults(
        requests_per_minute=KEY_REQUESTS.read(env),
        tokens_per_minute=KEY_TOKENS.read(env),
        concurrent_runs=KEY_RUNS.read(env),
        budget_day_usd=KEY_BUDGET_DAY.read(env),
        budget_month_usd=KEY_BUDGET_MONTH.read(env),
        budget_total_usd=KEY_BUDGET_TOTAL.read(env),
        budget_warn_percent=KEY_BUDGET_WARN_PERCENT.read(env),
    )


def read_sessions(env: Env) -> SessionSettings:
    """How sessions are remembered. Raises SettingError."""
    return SessionSettings(
        ttl_hours=SESSION_TTL_HOURS.read(env),
        max_per_key=SESSION_MAX.read(env),
        bytes_per_key=SESSION_BYTES.read(env),
        store=STORE_SESSIONS.read(env),
    )


def read_allowed(env: Env) -> AllowLists:
    """What any key may use at most. Raises SettingError."""
    return AllowLists(
        betas=ALLOWED_BETAS.read(env),
        server_tools=ALLOWED_SERVER_TOOLS.read(env),
        mcp_hosts=ALLOWED_MCP_HOSTS.read(env),
    )
