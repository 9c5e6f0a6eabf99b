"""Scenarios: functions that choose the script for a request.

Pass one to `start`; the default is `demo`.
"""

from apiproxy.standin import prompt
from apiproxy.standin.blocks import text_block, tool_block, words
from apiproxy.standin.demo import demo_blocks, demo_text
from apiproxy.standin.prompt import Body
from apiproxy.standin.schema import minimal
from apiproxy.standin.script import Script, ScriptedError

_STALL_AFTER_DELTAS = 3
_RETRY_AFTER_S = 1


def demo(body: Body) -> Script:
    """A text, tool call or structured output, as the request asks for."""
    return Script(blocks=demo_blocks(body))


def text(body: Body) -> Script:
    """A text, even where the message names a tool."""
    return Script(blocks=[text_block(words(demo_text(body)))])


def tool_steps(body: Body) -> Script:
    """One call of each offered tool, in order and a step at a time; then a text."""
    called = prompt.called_tools(body)
    tool = next((tool for tool in prompt.offered_tools(body) if tool["name"] not in called), None)
    if tool is None:
        return text(body)
    return Script(blocks=[tool_block(tool["name"], minimal(tool["input_schema"]) or {})])


def stall(body: Body) -> Script:
    """A text that stops after a few deltas, with the connection left open."""
    return Script(blocks=[text_block(words(demo_text(body)))], stall_after=_STALL_AFTER_DELTAS)


def rate_limited(_: Body) -> Script:
    """Status 429 with `retry-after`."""
    message = "This request would exceed the demo's rate limit."
    return Script(error=ScriptedError(status=429, message=message, retry_after_s=_RETRY_AFTER_S))
