"""The same question to each of the three APIs, and one view of the answer, whether streamed or not."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

from apiproxy.core.message import MessageFold
from tests.differential.pair import Event, Side

PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
MODEL = "claude-haiku-4-5-20251001"
View = dict[str, Any]


def body_of(api: str, prompt: str, *, stream: bool) -> dict[str, Any]:
    """A plain question, with the token counts at the end of a chat stream."""
    if api == "responses":
        return {"model": MODEL, "input": prompt, "stream": stream}
    body = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    return body | ({"stream_options": {"include_usage": True}} if api == "chat" and stream else {})


def view(api: str, side: Side) -> View:
    """The answer's parts by name, the same for a stream and for a whole answer; `http` is the status."""
    seen = _STREAMED[api](side.events) if side.is_stream else _WHOLE[api](side.json)
    return {"http": side.status, **_joined(seen)}


def _joined(value: Any) -> Any:
    """Halves of a surrogate pair that came apart, as the one character that they are."""
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_joined(item) for item in value]
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def _messages(events: list[Event]) -> View:
    fold = MessageFold()
    failed = [event for event in events if event["type"] == "error"]
    with contextlib.suppress(LookupError, TypeError):  # a stream that is none, passed on
        fold.add(events)
    return {**fold.message, **(failed[0] if failed else {}), "last": events[-1]["type"] if events else None}


def _chat_whole(body: View) -> View:
    if "choices" not in body:
        return body
    (choice,) = body["choices"]
    message = choice["message"]
    calls = [{"index": at, **call["function"]} for at, call in enumerate(message.get("tool_calls") or ())]
    return {**body, **message, "finish_reasons": [choice["finish_reason"]], "tool_calls": calls}


def _chat_streamed(events: list[Event]) -> View:
    seen: View = {"finish_reasons": [], "tool_calls": [], "content": "", "refusal": None, "ended": False}
    for event in events:
        if event.get("type") == "not an event":
            seen["ended"] = event["data"] == "[DONE]"
            continue
        seen |= {name: event[name] for name in ("error", "usage") if event.get(name)}
        for choice in event.get("choices", ()):
            delta = choice["delta"]
            seen["content"] += delta.get("content") or ""
            seen["refusal"] = delta.get("refusal") or seen["refusal"]
            seen["finish_reasons"] += [choice["finish_reason"]] if choice["finish_reason"] else []
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    seen["tool_calls"].append({"index": call["index"], **call["function"]})
                else:
                    seen["tool_calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    return seen


def _responses_streamed(events: list[Event]) -> View:
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(len(events))), "events are numbered"
    final = [event["response"] for event in events if "response" in event]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    errors = [event["error"] for event in events if event["type"] == "error"]
    deltas = [it["delta"] for it in events if it["type"] == "response.function_call_arguments.delta"]
    seen = final[-1] if final else {}
    assert not final or final[-1]["status"] == "failed" or final[-1]["output"] == done, "the items as they were done"
    return {
        **seen,
        **({"error": errors[0]} if errors else {}),
        "done": done,
        "argument_deltas": "".join(deltas),
        "last": events[-1]["type"],
    }


def has_field_lines(content: bytes) -> bool:
    """True if a stream has `id` or `retry` lines, after which the `openai` client reads a comment as an event."""
    return any(line.startswith((b"id:", b"retry:")) for line in content.splitlines())


def as_json(value: View) -> str:
    """For the message of a failed test."""
    return json.dumps(value, indent=1)[:4000]


_STREAMED: dict[str, Callable[[list[Event]], View]] = {
    "messages": _messages,
    "chat": _chat_streamed,
    "responses": _responses_streamed,
}
_WHOLE: dict[str, Callable[[Any], View]] = {"messages": dict, "chat": _chat_whole, "responses": dict}
