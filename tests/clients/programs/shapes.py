"""Requests shaped as those of programs that need a server of their own: constructed from their sources and documents.

Features: "curl", "Open WebUI", "LibreChat", "Home Assistant", "n8n", "Cursor".
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from features import GATEWAY, KEY, MODEL, RED_PIXEL, asked, feature, mark, run

_TIMEOUT_S = 60.0
_BEARER = {"authorization": f"Bearer {KEY}"}
_JSON = {"content-type": "application/json"}
_WEATHER = {
    "name": "weather",
    "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_IMAGE = f"data:image/png;base64,{RED_PIXEL}"


def _send(path: str, body: Any = None, *, headers: Mapping[str, str], method: str | None = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{GATEWAY}{path}", data=data, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _get(path: str, **headers: str) -> Any:
    status, text = _send(path, headers={**_BEARER, **headers})
    assert status == 200, text
    return json.loads(text)


def _post(path: str, body: Any, **headers: str) -> Any:
    status, text = _send(path, body, headers={**_BEARER, **_JSON, **headers})
    assert status == 200, text
    return json.loads(text)


def _chunks(path: str, body: Any, **headers: str) -> Iterator[dict[str, Any]]:
    """The events of a stream, `[DONE]` last where the dialect has it."""
    status, text = _send(path, {**body, "stream": True}, headers={**_BEARER, **_JSON, **headers})
    assert status == 200, text
    for line in text.splitlines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def _text(chunks: Iterator[dict[str, Any]]) -> str:
    choices = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(delta.get("content") or "" for delta in choices)


def _chat(*messages: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": list(messages), **more}


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@feature("curl")
def curl() -> None:
    """As in quick starts: no header but the key, form content type, HTTP probes."""
    body = json.dumps({"model": MODEL, "max_tokens": 100, "messages": [_user("[[say=good day]]")]}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}  # what curl -d sends
    for path, headers in (
        ("/v1/messages", {"x-api-key": KEY, "anthropic-version": "2023-06-01", **form}),
        ("/v1/messages", {**_BEARER, **form}),
        ("/v1/chat/completions", {**_BEARER, **form}),
        ("/chat/completions", {"x-api-key": KEY, **form}),
    ):
        request = urllib.request.Request(f"{GATEWAY}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            assert "good day" in response.read().decode()
    assert _send("/", headers={}, method="HEAD")[0] == 200
    assert _send("/v1/models", headers=_BEARER, method="HEAD")[0] == 200


@feature("Open WebUI")
def open_webui() -> None:
    """Model list, a chat with its identifiers in the body, the title task, an uploaded image."""
    assert any(model["id"] == MODEL for model in _get("/v1/models")["data"])
    ids = {"chat_id": mark(), "session_id": mark(), "id": mark()}
    extras = {
        **ids,
        "features": {"image_generation": False, "web_search": False, "code_interpreter": False},
        "variables": {"{{USER_NAME}}": "Ada", "{{CURRENT_DATE}}": "2026-11-28"},
        "background_tasks": {"title_generation": True, "tags_generation": True},
        "params": {},
        "tool_servers": [],
        "options": {},
    }
    told = {"x-openwebui-user-name": "Ada", "x-openwebui-chat-id": ids["chat_id"]}
    chat = _chat(_user("[[say=good day]]"), stream_options={"include_usage": True}, **extras)
    chunks = list(_chunks("/v1/chat/completions", chat, **told))
    assert _text(iter(chunks)) == "good day", chunks
    assert chunks[-1]["usage"]["total_tokens"] > 0, chunks[-1]
    title = '### Task: a title as JSON. [[say={"title": "Greeting"}]]'
    answer = _post("/v1/chat/completions", _chat(_user(title), stream=False, max_completion_tokens=1000))
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"title": "Greeting"}
    word = mark()
    parts = [{"type": "text", "text": f"[[say=red]] {word}"}, {"type": "image_url", "image_url": {"url": _IMAGE}}]
    assert _text(_chunks("/v1/chat/completions", _chat(_user(parts), **extras))) == "red"
    assert '"type": "image"' in json.dumps(asked(word)[-1]["messages"])


@feature("LibreChat")
def librechat() -> None:
    """A custom endpoint: sampling fields, a system message, title by a function, an earlier answer without text."""
    assert _get("/v1/models")["object"] == "list"
    told = [{"role": "system", "content": "Be brief."}, _user([{"type": "text", "text": "[[say=good day]]"}])]
    sampling = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "user": "65f0c0ffee"}
    assert _text(_chunks("/v1/chat/completions", _chat(*told, **sampling))) == "good day"
    history = [*told, {"role": "assistant", "content": ""}, _user("[[say=again]]")]
    assert _text(_chunks("/v1/chat/completions", _chat(*history, **sampling))) == "again"
    functions = [{"type": "function", "function": _WEATHER}]
    call = _chat(_user('[[tool=weather:{"city": "Oslo"}]]'), tools=functions, parallel_tool_calls=True)
    deltas = [c["choices"][0]["delta"] for c in _chunks("/v1/chat/completions", call) if c["choices"]]
    calls = [delta["tool_calls"][0] for delta in deltas if delta.get("tool_calls")]
    assert "".join(it["function"].get("arguments", "") for it in calls) == '{"city":"Oslo"}', calls


@feature("Home Assistant")
def home_assistant() -> None:
    """The extended OpenAI integrations: functions, a tool result by name, `n` and `user`."""
    service = {
        "name": "execute_services",
        "description": "Runs services of devices.",
        "parameters": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "domain": {"type": "string"},
                            "service": {"type": "string"},
                            "service_data": {"type": "object", "properties": {"entity_id": {"type": "array"}}},
                        },
                        "required": ["domain", "service", "service_data"],
                    },
                }
            },
        },
    }
    prompt = _user('[[tool=execute_services:{"list": [{"domain": "light", "service": "turn_on"}]}]]')
    system = {"role": "system", "content": "The devices, as CSV: entity_id,name,state\nlight.hall,Hall,off"}
    more = {
        "tools": [{"type": "function", "function": service}],
        "tool_choice": "auto",
        "max_tokens": 150,
        "top_p": 1,
        "temperature": 0.5,
        "user": "01J0000000000000000000000",
    }
    first = _post("/v1/chat/completions", _chat(system, prompt, **more))["choices"][0]
    assert first["finish_reason"] == "tool_calls", first
    call = first["message"]["tool_calls"][0]
    result = {"role": "tool", "tool_call_id": call["id"], "name": "execute_services", "content": "[True]"}
    turns = (system, prompt, first["message"], result)
    answer = _post("/v1/chat/completions", _chat(*turns, **more))["choices"][0]["message"]["content"]
    assert "[True]" in answer, answer


@feature("n8n")
def n8n() -> None:
    """Its OpenAI node speaks Responses by default; its agent node Chat Completions with tools."""
    input_ = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "[[say=good day]]"}]
    body = {"model": MODEL, "input": input_, "parallel_tool_calls": True, "store": True, "background": False}
    response = _post("/v1/responses", body)
    assert response["output"][-1]["content"][0]["text"] == "good day", response
    chat = _chat(_user("[[say=good day]]"), tools=[{"type": "function", "function": _WEATHER}], n=1)
    assert _text(_chunks("/v1/chat/completions", chat)) == "good day"


@feature("Cursor")
def cursor() -> None:
    """Agent mode posts a Responses body to Chat Completions; ask mode mixes flat and nested tools."""
    patch = {"type": "custom", "name": "ApplyPatch", "description": "Edits files.", "format": {"type": "text"}}
    flat = {"type": "function", **_WEATHER, "strict": False}
    agent = {
        "model": MODEL,
        "input": [{"role": "system", "content": "You edit."}, {"role": "user", "content": "[[say=good day]]"}],
        "tools": [flat, patch],
        "stream_options": {"include_usage": True},
        "user": "github|user_01",
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "text": {"verbosity": "low"},
        "prompt_cache_retention": "24h",
        "metadata": {"cursorConversationId": mark()},
    }
    events = list(_chunks("/v1/chat/completions", agent))
    assert "good day" in json.dumps(events).replace('"}, ', "") or "good" in json.dumps(events), events[:3]
    nested = {"type": "function", "function": _WEATHER | {"name": "other"}}
    ask = _chat(_user("[[say=good day]]"), tools=[flat, nested], tool_choice="auto")
    assert _text(_chunks("/v1/chat/completions", ask)) == "good day"


if __name__ == "__main__":
    run()
