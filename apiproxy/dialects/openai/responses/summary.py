"""Summaries of conversations: the request for one, and the encoded form for clients. Pure.

A summary is requested in the conversation itself, so that it works on every model and upstream, and the prompt cache
still has its tools and system prompt. `encrypted_content` is the summary, opaque to clients but no secret: it is the
client's own conversation.
"""

import base64
import binascii

from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.translate.content import Block, is_blank, text_block

TRIGGER = "compaction_trigger"
_MARKER = "compaction-1."

INSTRUCTION = """\
The conversation above is about to be replaced by a summary, from which you will go on without seeing it again. Write
that summary now, and nothing else. Do not call tools and do not answer the last message.

Put down everything that is needed to go on as if nothing had been lost:
1. What the user wants: the goal, and every requirement, preference and correction, in the user's own words where they
   matter.
2. What has been done, and what came of it: decisions with their reasons, results of tools that are still needed,
   errors and how they were solved.
3. The exact facts: names of files, functions, commands, addresses, ids, numbers, and pieces of code or text that will
   be needed again.
4. Where things stand: what is finished, what is not, and the next step.

Leave out what no longer matters. Do not invent anything."""
_PREFACE = "Summary of the conversation so far, which it replaces:"


def summary_request() -> Block:
    """Text block that asks for the summary."""
    return text_block(INSTRUCTION)


def is_summary(text: str) -> bool:
    """True for a text that this module made: the request for a summary, or an earlier summary."""
    return text.startswith((INSTRUCTION, _PREFACE))


def encode_summary(text: str) -> str:
    """The summary as `encrypted_content`."""
    return _MARKER + base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()


def decode_summary(content: str) -> Block | None:
    """Text block with a summary that `encode_summary` encoded; None if another service made it."""
    if not content.startswith(_MARKER):
        return None
    try:
        text = base64.urlsafe_b64decode(content.removeprefix(_MARKER)).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        return None
    return None if is_blank(text) else text_block(f"{_PREFACE}\n\n{text}")


def with_summary_request(request: ResponsesRequest) -> ResponsesRequest:
    """The request, with what a summary needs if it asks for one: text, no calls, and nothing stored.

    `tools` stay: the conversation has calls of them, and they are part of the cached prefix.
    """
    if not asks_for_summary(request):
        return request
    return request.model_copy(update={"store": False, "tool_choice": "none", "text": None})


def asks_for_summary(request: ResponsesRequest) -> bool:
    """True if the last input item is a `compaction_trigger`."""
    last = request.input[-1] if request.input and not isinstance(request.input, str) else None
    return isinstance(last, dict) and last.get("type") == TRIGGER
