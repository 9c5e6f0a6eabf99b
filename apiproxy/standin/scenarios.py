"""Scenarios of the demo upstream: each function picks the response to a request.

Pass one to `start`; the default is `demo`.
"""

from apiproxy.standin import prompt
from apiproxy.standin.blocks import text_block, tool_block, words
from apiproxy.standin.demo import demo_blocks, demo_text
from apiproxy.standin.demo_agent import agent_blocks, is_agent
from apiproxy.standin.prompt import Body
from apiproxy.standin.schema import minimal
from apiproxy.standin.script import Script, ScriptedError

_STALL_AFTER_DELTAS = 3
_RETRY_AFTER_S = 1


def demo(body: Body) -> Script:
    """Answer with text, a tool call or structured output, or take the next step of the demo's agent."""
    return Script(blocks=agent_blocks(body) if is_agent(body) else demo_blocks(body))


def text(body: Body) -> Script:
    """Always answer with text, even if the message names a tool."""
    return Script(blocks=[text_block(words(demo_text(body)))])


def tool_steps(body: Body) -> Script:
    """Call each offered tool once, in order, one per step; then answer with text."""
    called = prompt.called_tools(body)
    tool = next((tool for tool in prompt.offered_tools(body) if tool["name"] not in called), None)
    if tool is None:
        return text(body)
    return Script(blocks=[tool_block(tool["name"], minimal(tool["input_schema"]) or {})])


def stall(body: Body) -> Script:
    """Send a few text deltas, then stop and leave the connection open."""
    return Script(blocks=[text_block(words(demo_text(body)))], stall_after=_STALL_AFTER_DELTAS)


def rate_limited(_: Body) -> Script:
    """Answer with status 429 and a `retry-after` header."""
    message = "This request would exceed the demo's rate limit."
    return Script(error=ScriptedError(status=429, message=message, retry_after_s=_RETRY_AFTER_S))
