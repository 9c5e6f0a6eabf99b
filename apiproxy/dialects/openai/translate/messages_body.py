"""Puts a Messages body together; Chat Completions and Responses differ only in how they say what it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.chat.schemas import Sampled
from apiproxy.dialects.openai.translate.capabilities import capabilities
from apiproxy.dialects.openai.translate.content import Block, drop_early_breakpoints, text_block
from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.dialects.openai.translate.reasoning import ReasoningRequest, plan_reasoning
from apiproxy.dialects.openai.translate.sampling import sampling_fields, service_tier, user_metadata
from apiproxy.dialects.openai.translate.structured_output import OutputPlan, OutputRequest, plan_output
from apiproxy.dialects.openai.translate.tools import Choice, ToolPlan, ToolSpec, plan_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The model to ask, by its id after aliases, and how much it writes at most where the client sets no limit."""

    model: str
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the request says of the form of its answer.

    answer_tool: the tool whose arguments are the answer's text, if there is one. reasoning: show the thinking.
    include_usage: end a stream with the token counts. legacy_function: calls in the form before there were tools.
    """

    answer_tool: str | None = None
    reasoning: bool = False
    include_usage: bool = False
    legacy_function: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A Messages body (`stream` left out), what to say in `x-proxy-ignored`, and the form of the answer."""

    body: dict[str, Any]
    ignored: tuple[str, ...]
    reply: Reply
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one of the two APIs said, in the words of neither. max_tokens is None where the client gave no limit."""

    system: list[Block]
    messages: list[dict[str, Any]]
    max_tokens: int | None
    tools: Iterable[ToolSpec]
    choice: Choice | None
    parallel: bool
    reasoning: ReasoningRequest
    output: OutputRequest | None
    stop: Sequence[str] = ()


def assemble(
    request: Sampled, parts: Parts, *, target: Target, ignored: IgnoredFields
) -> tuple[dict[str, Any], str | None]:
    """The Messages body, and the name of the tool that carries the answer, if one does. Raises ProxyError."""
    capable = capabilities(target.model)
    max_tokens = parts.max_tokens or target.max_output_tokens
    tools = plan_tools(parts.tools, parts.choice, parallel=parts.parallel, capable=capable, ignored=ignored)
    reasoning = plan_reasoning(
        parts.reasoning, capable=capable, max_tokens=max_tokens, tool_forced=tools.forced, ignored=ignored
    )
    output = OutputPlan()
    if parts.output is not None:
        output = plan_output(parts.output, tools, capable=capable, thinking=reasoning.active, ignored=ignored)
    if output.instruction is not None:
        parts.system.append(text_block(output.instruction))
    drop_early_breakpoints(_cacheable(tools, parts), ignored)
    output_config = {"effort": reasoning.effort, "format": output.format}
    optional: Mapping[str, Any] = {
        "system": parts.system,
        "tools": tools.tools,
        "tool_choice": tools.choice,
        "stop_sequences": list(parts.stop),
        "thinking": reasoning.thinking,
        "output_config": {name: value for name, value in output_config.items() if value},
    }
    body = {
        "model": target.model,
        "max_tokens": max_tokens,
        "messages": parts.messages,
        **{name: value for name, value in optional.items() if value},
        **sampling_fields(request, capable=capable, reasoning=reasoning, ignored=ignored),
        **service_tier(request.service_tier, ignored),
        **user_metadata(request, ignored),
    }
    return body, output.answer_tool


def report_unknown_fields(request: Sampled, honoured: Mapping[str, object], ignored: IgnoredFields) -> None:
    """Names the request's other fields, unless their value says no more than the default.

    honoured: names of fields with the one value that needs no word, such as `n: 1`.
    """
    for name, value in (request.model_extra or {}).items():
        if value is None or value is False or value in ([], {}, "") or (name in honoured and value == honoured[name]):
            continue
        ignored.add(name)


def _cacheable(tools: ToolPlan, parts: Parts) -> list[Block]:
    """Every block that may hold a cache breakpoint, in the order in which the upstream reads them."""
    blocks = [*tools.tools, *parts.system]
    for message in parts.messages:
        if isinstance(message["content"], str):
            continue
        for block in message["content"]:
            if isinstance(block.get("content"), list):
                blocks.extend(block["content"])
            blocks.append(block)
    return blocks
