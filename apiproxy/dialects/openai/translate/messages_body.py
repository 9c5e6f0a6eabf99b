"""Assembly of Messages bodies for Chat Completions and Responses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.dialects.openai.chat.schemas import Sampled
from apiproxy.dialects.openai.translate import prompt_cache
from apiproxy.dialects.openai.translate.called_tools import CalledTool
from apiproxy.dialects.openai.translate.capabilities import capabilities
from apiproxy.dialects.openai.translate.content import MAX_BREAKPOINTS, Block, drop_early_breakpoints, text_block
from apiproxy.dialects.openai.translate.conversation import add_user_turn
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.prompt_cache import CacheMode
from apiproxy.dialects.openai.translate.property_keys import Renames, rename_in_history, rename_keys
from apiproxy.dialects.openai.translate.reasoning import ReasoningRequest, plan_reasoning
from apiproxy.dialects.openai.translate.sampling import sampling_fields, service_tier, user_metadata
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer, ServerTools
from apiproxy.dialects.openai.translate.structured_output import OutputRequest, plan_output
from apiproxy.dialects.openai.translate.tools import Choice, ToolPlan, ToolSpec, declare_used_tools, plan_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Upstream model (aliases resolved), its default output limit, where an unmarked prompt is cached, and the server
    tools that may be used.

    kept_as: name of the model with its kept answers, if it is another.
    """

    model: str
    max_output_tokens: int
    kept_as: str = ""
    cache: CacheMode = CacheMode.OFF
    server_tools: ServerToolOffer = field(default_factory=ServerToolOffer)

    @property
    def answers_model(self) -> str:
        """Name of the model with its kept answers."""
        return self.kept_as or self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Format of the answer.

    answer_tool: tool whose arguments are the answer's text. forced_call: tool of which the answer's text is a call.
    called: the client's tools by upstream name, but for plain functions. reasoning: include the thinking.
    include_usage: end a stream with token counts. legacy_function: return calls as `function_call`, not `tool_calls`.
    custom_as_function: free-form calls in chat have the form of a function call too.
    renamed: keys to restore in the arguments of calls.
    """

    answer_tool: str | None = None
    forced_call: str | None = None
    called: Mapping[str, CalledTool] = field(default_factory=dict)
    reasoning: bool = False
    include_usage: bool = False
    legacy_function: bool = False
    custom_as_function: bool = False
    renamed: Renames = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """Messages body without `stream`, ignored fields, and answer format. betas: those that the body needs."""

    body: dict[str, Any]
    ignored: tuple[str, ...]
    reply: Reply
    stream: bool
    betas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parsed request, independent of the API.

    max_tokens: None if the client set no limit. messages_field: path of the messages in the request.
    """

    system: list[Block]
    messages: list[dict[str, Any]]
    messages_field: str
    max_tokens: int | None
    tools: Iterable[ToolSpec]
    choice: Choice | None
    parallel: bool
    reasoning: ReasoningRequest
    output: OutputRequest | None
    stop: Sequence[str] = ()
    server_tools: ServerTools = field(default_factory=ServerTools)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """Messages body, and the tool that carries the answer or that the answer is a call of: see `Reply`."""

    body: dict[str, Any]
    answer_tool: str | None
    forced_call: str | None
    renamed: Renames


def assemble(request: Sampled, parts: Parts, *, target: Target, ignored: IgnoredFields) -> Assembled:
    """Assemble the Messages body. Raises ProxyError (INVALID_REQUEST) naming the invalid field."""
    capable = capabilities(target.model)
    max_tokens = parts.max_tokens or target.max_output_tokens
    server_tools = parts.server_tools
    tools = plan_tools(
        parts.tools, parts.choice, parallel=parts.parallel, capable=capable, ignored=ignored, server_tools=server_tools
    )
    server_tools.keep_planned(tools.tools, parts.messages)
    reasoning = plan_reasoning(
        parts.reasoning, capable=capable, max_tokens=max_tokens, tool_forced=tools.forced, ignored=ignored
    )
    output = plan_output(parts.output, tools, capable=capable, thinking=reasoning.active, ignored=ignored)
    if output.instruction is not None:
        parts.system.append(text_block(output.instruction))
    enforced = tools.forced or output.format is not None or output.answer_tool is not None
    if parts.messages[-1]["role"] == "assistant" and (not capable.prefill or enforced or reasoning.active):
        add_user_turn(parts.messages, parts.messages_field, ignored)
    declare_used_tools(tools, parts.messages)
    renamed = rename_keys(tools.tools)
    if renamed:
        rename_in_history(parts.messages, renamed)
    mark = _plan_breakpoints(request, tools, parts, mode=target.cache, ignored=ignored)
    output_config = {"effort": reasoning.effort, "format": output.format}
    optional: Mapping[str, Any] = {
        "system": parts.system,
        "tools": tools.tools,
        "mcp_servers": server_tools.mcp_servers,
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
    prompt_cache.apply_mark(body, mark, target.cache)
    call = tools.forced_call
    forced = call.name if call is not None else None
    return Assembled(body=body, answer_tool=output.answer_tool, forced_call=forced, renamed=renamed)


def _plan_breakpoints(
    request: Sampled, tools: ToolPlan, parts: Parts, *, mode: CacheMode, ignored: IgnoredFields
) -> Mapping[str, Any] | None:
    """Drop breakpoints over the API's limit. Returns the one to add, if any."""
    blocks = _cacheable(tools, parts)
    marked = any("cache_control" in block for block in blocks)
    mark = prompt_cache.plan_cache(request.model_extra or {}, mode=mode, marked=marked, ignored=ignored)
    drop_early_breakpoints(blocks, ignored, keep=MAX_BREAKPOINTS - (mark is not None))
    return mark


def report_unknown_fields(request: Sampled, defaults: Mapping[str, object], ignored: IgnoredFields) -> None:
    """Report the request's unknown fields, unless they have their default value.

    defaults: by field name, such as `n: 1`. Empty and false values always count as defaults.
    """
    given = request.model_extra or {}
    _reject_audio_output(given)
    for name, value in given.items():
        if value is None or value is False or value in ([], {}, "") or (name in defaults and value == defaults[name]):
            continue
        if name in prompt_cache.FIELDS:
            continue
        ignored.add(name)


def _reject_audio_output(given: Mapping[str, object]) -> None:
    """Raise ProxyError for an answer in sound or pictures: text would be an answer to another request."""
    modalities = given.get("modalities")
    if isinstance(modalities, list) and any(kind != "text" for kind in modalities):
        raise invalid_field("modalities", "must be ['text']: the models here answer in text")
    if given.get("audio"):
        raise invalid_field("audio", "audio output is not supported: the models here answer in text")


def _cacheable(tools: ToolPlan, parts: Parts) -> list[Block]:
    """Blocks that may have a cache breakpoint, in the upstream's order."""
    blocks = [*tools.tools, *parts.system]
    for message in parts.messages:
        if isinstance(message["content"], str):
            continue
        for block in message["content"]:
            if isinstance(block.get("content"), list):
                blocks.extend(block["content"])
            blocks.append(block)
    return blocks
