"""Arguments of an agent's CLI."""

from apiproxy.core.agents import McpServerSpec
from apiproxy.engines.agents.launch import agent_flags
from tests.engines.agents.support import agent


def test_flags_allow_tools_of_servers() -> None:
    servers = (
        McpServerSpec(name="web", transport="http", url="https://x.example", allowed_tools=("get_*",)),
        McpServerSpec(name="db", transport="stdio", command="db", allowed_tools=("read_*", "list")),
    )
    flags = agent_flags(agent(tools=("Bash",), mcp_servers=servers), files="/run/agent")
    assert flags[flags.index("--allowedTools") + 1] == "Bash,mcp__web,mcp__db__read_*,mcp__db__list"


def test_flags_are_bare_without_tools_that_need_more() -> None:
    assert "--bare" in agent_flags(agent(tools=("Bash",)), files="/run/agent")
    assert "--bare" not in agent_flags(agent(tools=("Bash", "Grep")), files="/run/agent")
