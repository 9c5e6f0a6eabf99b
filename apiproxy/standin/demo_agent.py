"""Answers of the demo's agent: it looks into the handbook, reads two pages at once, and sums them up."""

from collections.abc import Mapping

from apiproxy.standin import prompt
from apiproxy.standin.blocks import Block, text_block, tool_block, words

PREFIX = "mcp__handbook__"
LIST_TOOL, READ_TOOL = f"{PREFIX}list_pages", f"{PREFIX}read_page"
_PAGES = ("refunds", "shipping")


def is_agent(body: prompt.Body) -> bool:
    """True if the request is a model call of the demo's agent."""
    return any(tool.get("name") == LIST_TOOL for tool in prompt.offered_tools(body))


def agent_blocks(body: prompt.Body) -> list[Block]:
    """The next step: list, read, answer."""
    called = _calls_since_question(body)
    if LIST_TOOL not in called:
        return [text_block(words("I look into the handbook.")), tool_block(LIST_TOOL, {})]
    if READ_TOOL not in called:
        return [tool_block(READ_TOOL, {"name": page}) for page in _PAGES]
    pages = " ".join(prompt.tool_results(body))
    return [text_block(words(f"This is a demo answer from the gateway's own stand-in. The handbook says: {pages}"))]


def _calls_since_question(body: prompt.Body) -> set[str]:
    """Names of the tools called since the last message in which the user says something."""
    called: set[str] = set()
    for message in reversed(body["messages"]):
        content = message["content"]
        blocks: list[Mapping[str, object]] = content if isinstance(content, list) else []
        if message["role"] == "assistant":
            called |= {str(block.get("name")) for block in blocks if block.get("type") == "tool_use"}
        elif isinstance(content, str) or not any(block.get("type") == "tool_result" for block in blocks):
            break
    return called
