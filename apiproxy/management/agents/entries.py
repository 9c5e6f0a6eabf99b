"""Entries of the file: names and types of the fields. The models check their values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from apiproxy.core.encryption import UnreadableError
from apiproxy.models import Agent, McpServer

MAX_ENTRIES = 1_000


class EntryError(Exception):
    """Entries that cannot be used. problems: each with its path, such as `agents.0.model: …`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _amount(value: object) -> object:
    """Decimal of a YAML number, as it is written."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ServerEntry(_Entry):
    """An MCP server."""

    name: str
    transport: Literal["http", "sse", "stdio"] = "http"
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    allowed_tools: list[str] = Field(default_factory=lambda: ["*"])
    required: bool = True
    enabled: bool = True


class AgentEntry(_Entry):
    """An agent."""

    slug: str
    display_name: str = ""
    description: str = ""
    model: str
    system: str = ""
    allow_client_system: bool = False
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: dict[str, Any] | None = None
    tools: list[str] = Field(default_factory=list)
    mcp_servers: list[str] = Field(default_factory=list)
    show_tool_calls: Literal["all", "names", "none"] = "all"
    max_calls: int = 12
    budget_usd: Annotated[Decimal | None, BeforeValidator(_amount)] = None
    max_duration_s: int = 300
    min_idle: int = 0
    output_schema: dict[str, Any] | None = None
    enabled: bool = True


class Entries(_Entry):
    """A whole file."""

    mcp_servers: list[ServerEntry] = Field(default_factory=list, max_length=MAX_ENTRIES)
    agents: list[AgentEntry] = Field(default_factory=list, max_length=MAX_ENTRIES)


def read_entries(document: object) -> Entries:
    """Entries of a parsed file. Raises EntryError."""
    try:
        return Entries.model_validate({} if document is None else document)
    except ValidationError as error:
        raise EntryError([_problem(it) for it in error.errors(include_url=False, include_input=False)]) from None


def entry_of_server(server: McpServer) -> dict[str, Any]:
    """A server as in a file, secrets masked; without them if they cannot be read."""
    try:
        secrets = server.read_secrets().masked()
        hidden: Mapping[str, Any] = {"headers": dict(secrets.headers), "env": dict(secrets.env)}
    except UnreadableError:
        hidden = {}
    return _without_defaults(
        ServerEntry,
        {name: hidden.get(name, getattr(server, name, {})) for name in ServerEntry.model_fields},
        always=("name", "transport"),
    )


def entry_of_agent(agent: Agent) -> dict[str, Any]:
    """An agent as in a file."""
    values = {name: getattr(agent, name) for name in AgentEntry.model_fields}
    budget = values["budget_usd"]
    values |= {"effort": agent.effort or None, "budget_usd": None if budget is None else float(budget)}
    return _without_defaults(AgentEntry, values, always=("display_name", "max_calls", "max_duration_s"))


def _without_defaults(entry: type[BaseModel], values: Mapping[str, Any], always: tuple[str, ...]) -> dict[str, Any]:
    fields = entry.model_fields
    return {
        name: value
        for name, value in values.items()
        if name in always or fields[name].is_required() or value != fields[name].get_default(call_default_factory=True)
    }


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    text = "unknown field" if error["type"] == "extra_forbidden" else str(error["msg"])
    return f"{path}: {text}" if path else text
