"""Message threads of the stand-in, by raw requests."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.upstream import start


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    server = await start()
    async with httpx.AsyncClient(base_url=server.base_url, timeout=10) as client:
        yield client
    await server.close()


async def post(http: httpx.AsyncClient, prompt: str, thread: Any, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "m", "max_tokens": 9, "messages": messages, "thread": thread, **fields}
    return await http.post("/v1/messages", json=body)


def continued(response: httpx.Response) -> dict[str, str]:
    return {"type": "continue", "previous_message_id": response.json()["id"]}


async def test_a_thread_keeps_messages_and_system(http: httpx.AsyncClient) -> None:
    first = await post(http, "[[say=one]]", {"type": "create"}, system="four")
    second = await post(http, "[[say=two]]", continued(first))
    third = await post(http, "[[seen]]", continued(second))

    text = third.json()["content"][0]["text"]
    assert '"messages":5,' in text
    assert '"system":4,' in text


@pytest.mark.parametrize(("fields", "code"), [({}, "thread_not_found"), ({"system": "x"}, "thread_invalid_request")])
async def test_reject_what_cannot_be_continued(http: httpx.AsyncClient, fields: dict[str, Any], code: str) -> None:
    thread = {"type": "continue", "previous_message_id": "msg_unknown"}

    response = await post(http, "[[say=two]]", thread, **fields)

    assert response.json()["error"]["details"] == {"error_code": code}
