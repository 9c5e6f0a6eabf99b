"""Chat bodies with fields of the Responses API, as Cursor sends them. Pure.

Its agent posts `input`, flat tools and free-form tools to /chat/completions and expects a chat completion; its Ask mode
sends `messages`, with nested and flat tools in one list. A body in either form is brought into one of the two APIs'.
Source: https://github.com/BerriAI/litellm/pull/34029
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from apiproxy.dialects.openai.chat.schemas import ChatRequest, StreamOptions
from apiproxy.dialects.openai.translate.messages_body import Translation
from apiproxy.dialects.openai.translate.validation import read

Json = Mapping[str, Any]

_CALLED = {"function": "arguments", "custom": "input"}
"""Kinds of tools, and the field of their calls with what they are called with."""
_ITEMS = frozenset(
    {"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning"}
)
"""Types of entries that only the Responses API has."""
_PARTS = {"text": "input_text", "image_url": "input_image", "file": "input_file"}


class FlatChatRequest(ChatRequest):
    """Chat request with flat free-form tools."""


def is_responses_body(body: object) -> TypeGuard[dict[str, Any]]:
    """True if the conversation is in the form of the Responses API, in whole or in part."""
    if not isinstance(body, dict):
        return False
    messages = body.get("messages")
    if not messages:
        return body.get("input") is not None
    return isinstance(messages, list) and any(_is_item(message) for message in messages)


def read_flat_chat(body: object) -> ChatRequest:
    """Validate a chat body whose tools may be flat.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    if not isinstance(body, dict):
        return read(ChatRequest, body)
    custom = _flat_custom_names(body.get("tools"))
    changed = {**body, **_mapped(body, "tools", _nested), **_choice(body, nested=True)}
    if not custom:
        return read(ChatRequest, changed)
    return read(FlatChatRequest, changed | _mapped(body, "messages", lambda it: _with_custom_calls(it, custom)))


def as_responses_body(body: Json) -> dict[str, Any]:
    """The body in the format of the Responses API.

    Invalid fields stay unchanged, for the validation of Responses.
    """
    custom = _flat_custom_names(body.get("tools"))
    given = body.get("messages") or body.get("input")
    entries = [item for entry in given for item in _items(entry, custom)] if isinstance(given, list) else given
    left_out = ("messages", "max_tokens", "max_completion_tokens", "reasoning_effort", "response_format")
    changed = {name: value for name, value in body.items() if name not in left_out}
    changed |= {"input": entries, "store": False} | _mapped(body, "tools", _flat) | _choice(body, nested=False)
    if (limit := body.get("max_completion_tokens") or body.get("max_tokens")) is not None:
        changed.setdefault("max_output_tokens", limit)
    if (effort := body.get("reasoning_effort")) is not None:
        changed.setdefault("reasoning", {"effort": effort})
    if (form := body.get("response_format")) is not None:
        changed.setdefault("text", {"format": _format(form)})
    return changed


def for_flat_tools(translation: Translation, options: StreamOptions | None) -> Translation:
    """The translation, answered in both forms of a free-form call.

    Cursor (seen in 3.14) fails on a call without `function.name`; other versions read `custom`.
    """
    usage = options is not None and bool(options.include_usage)
    reply = replace(translation.reply, custom_as_function=True, include_usage=usage)
    return replace(translation, reply=reply)


def _is_item(entry: object) -> bool:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return isinstance(kind, str) and kind in _ITEMS


def _mapped(body: Json, name: str, change: Any) -> dict[str, Any]:
    given = body.get(name)
    return {name: [change(entry) for entry in given]} if isinstance(given, list) else {}


def _flat_custom_names(tools: object) -> frozenset[str]:
    named = (tool.get("name") for tool in tools if _is_flat(tool, "custom")) if isinstance(tools, list) else ()
    return frozenset(name for name in named if isinstance(name, str))


def _is_flat(tool: object, kind: str) -> bool:
    return isinstance(tool, dict) and tool.get("type") == kind and kind not in tool and "name" in tool


def _nested(tool: Any) -> Any:
    """A tool or a choice of one in the form of Chat Completions."""
    for kind in _CALLED:
        if _is_flat(tool, kind):
            beside = {name: tool[name] for name in ("type", "cache_control") if name in tool}
            return {**beside, kind: {name: value for name, value in tool.items() if name not in beside}}
    return tool


def _flat(tool: Any) -> Any:
    """A tool or a choice of one in the form of the Responses API."""
    for kind in _CALLED:
        if isinstance(tool, dict) and tool.get("type") == kind and isinstance(tool.get(kind), dict):
            return {**{name: value for name, value in tool.items() if name != kind}, **tool[kind]}
    return tool


def _choice(body: Json, *, nested: bool) -> dict[str, Any]:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return {}
    allowed = choice.get("allowed_tools")
    if not nested and isinstance(allowed, dict):
        tools = allowed.get("tools")
        return {"tool_choice": {**allowed, "type": "allowed_tools", "tools": [*map(_flat, tools or ())]}}
    if nested and choice.get("type") == "allowed_tools" and allowed is None:
        return {"tool_choice": {"type": "allowed_tools", "allowed_tools": {**choice}}}
    return {"tool_choice": _nested(choice) if nested else _flat(choice)}


def _with_custom_calls(message: Any, custom: frozenset[str]) -> Any:
    """The message, whose calls of these free-form tools in the form of functions have their own again."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return (
        {**message, "tool_calls": [_own_form(call, custom) for call in calls]} if isinstance(calls, list) else message
    )


def _own_form(call: Any, custom: frozenset[str]) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "custom" in call or function.get("name") not in custom:
        return call
    return {**call, "type": "custom", "custom": {"name": function["name"], "input": function.get("arguments")}}


def _items(entry: Any, custom: frozenset[str]) -> Iterator[Any]:
    """A message of either API, or an item, as items."""
    if not isinstance(entry, dict):
        yield entry
        return
    if entry.get("type") == "function_call" and entry.get("name") in custom:
        yield {**entry, "type": "custom_tool_call", "input": entry.get("arguments")}
        return
    role, calls = entry.get("role"), entry.get("tool_calls")
    if role == "tool":
        output = _content(entry.get("content"))
        yield {"type": "function_call_output", "call_id": entry.get("tool_call_id"), "output": output or ""}
        return
    if "content" not in entry or role is None:
        yield from () if calls else (entry,)
    elif entry["content"] is not None or not calls:
        message = {name: value for name, value in entry.items() if name != "tool_calls"}
        yield message | {"content": "" if entry["content"] is None else _content(entry["content"])}
    for call in calls if isinstance(calls, list) else ():
        yield _call_item(_own_form(call, custom))


def _call_item(call: Any) -> Any:
    kind = call.get("type", "function") if isinstance(call, dict) else None
    called = call.get(kind) if isinstance(kind, str) and isinstance(call, dict) else None
    if kind not in _CALLED or not isinstance(called, dict):
        return call
    item_type = "function_call" if kind == "function" else "custom_tool_call"
    given = called.get(_CALLED[kind])
    return {"type": item_type, "call_id": call.get("id"), "name": called.get("name"), _CALLED[kind]: given}


def _content(content: Any) -> Any:
    return [_part(part) for part in content] if isinstance(content, list) else content


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _PARTS:
        return part
    changed = {**part, "type": _PARTS[kind]}
    inner = changed.get(kind)
    if kind == "image_url" and isinstance(inner, dict):
        changed |= {"image_url": inner.get("url"), "detail": inner.get("detail")}
    elif kind == "file" and isinstance(inner, dict):
        changed |= inner
    return changed


def _format(form: Any) -> Any:
    named = form.get("json_schema") if isinstance(form, dict) else None
    return {"type": "json_schema", **named} if isinstance(named, dict) else form
