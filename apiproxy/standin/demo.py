"""Demo answers: they say that they are a demo, and otherwise resemble a model's."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from apiproxy.standin import prompt
from apiproxy.standin.blocks import Block, text_block, thinking_block, tool_block, words
from apiproxy.standin.schema import minimal

INTRODUCTION = "This is a demo answer from claude-sdk-proxy's built-in stand-in: no upstream credential is set."
"""Start of every demo text."""

_QUOTE_CHARS = 2_000
_THOUGHT = "This is demo thinking: there is no model, so I only repeat your message."


def demo_blocks(body: prompt.Body) -> list[Block]:
    """Thinking if enabled; then a tool call, structured output or a text."""
    blocks = [thinking_block(_THOUGHT)] if prompt.wants_thinking(body) else []
    tool = _wanted_tool(body)
    if tool is not None:
        introduction = f"I am a demo without a model; I call {tool['name']} because your message asks for it."
        forced = (body.get("tool_choice") or {}).get("type") in {"any", "tool"}
        spoken = [] if forced else [text_block(words(introduction))]
        return [*blocks, *spoken, tool_block(tool["name"], minimal(tool["input_schema"]) or {})]
    wanted_schema = _wanted_schema(body)
    text = demo_text(body) if wanted_schema is None else orjson.dumps(minimal(wanted_schema)).decode()
    return [*blocks, text_block(words(text))]


def demo_text(body: prompt.Body) -> str:
    """Introduction, then text, images and tool results of the last user message."""
    sentences = [INTRODUCTION]
    if said := prompt.spoken_text(body).strip():
        quote = said if len(said) <= _QUOTE_CHARS else said[:_QUOTE_CHARS] + "…"
        sentences.append(f"You said: {quote}")
    if images := prompt.count_images(body):
        sentences.append(f"You sent {images} image{'s' if images > 1 else ''}, which I cannot see.")
    sentences += [f"Your tool answered: {result[:_QUOTE_CHARS]}" for result in prompt.tool_results(body)]
    return " ".join(sentences)


def _wanted_tool(body: prompt.Body) -> Mapping[str, Any] | None:
    """Tool forced by tool_choice, else the one named in the text and not yet called."""
    tools: Sequence[Mapping[str, Any]] = prompt.offered_tools(body)
    choice = body.get("tool_choice") or {}
    match choice.get("type"):
        case "none":
            return None
        case "tool":
            return next((tool for tool in tools if tool.get("name") == choice.get("name")), None)
        case "any" if tools:
            return tools[0]
        case _:
            if prompt.tool_results(body):
                return None
            said = prompt.spoken_text(body)
            return next((tool for tool in tools if _names(said, str(tool.get("name")))), None)


def _names(text: str, name: str) -> bool:
    """True if the text has the name as a word; spaces may replace underscores."""
    spoken = re.escape(name).replace("_", "[_ ]")
    return re.search(rf"(?<!\w){spoken}(?!\w)", text, re.IGNORECASE) is not None


def _wanted_schema(body: prompt.Body) -> object:
    """The JSON schema for structured output."""
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return form.get("schema") if form.get("type") == "json_schema" else None
