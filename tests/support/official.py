"""The official Anthropic client asking a server, for tests of stand-ins."""

from typing import Any

import anthropic
from anthropic.types import Message, TextBlock

MODEL = "claude-sonnet-5"


async def ask(client: anthropic.AsyncAnthropic, content: Any, **options: Any) -> Message:
    """The answer to one user message. options override the request's fields."""
    options = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": content}], **options}
    message: Message = await client.messages.create(**options)
    return message


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))
