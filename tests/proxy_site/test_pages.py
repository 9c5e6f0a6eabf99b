"""Pages that are asked for under a wrong name."""

import io
import json
import logging

import pytest
from django.core.handlers.asgi import ASGIRequest

from proxy_site.handler import EventSampler, PageHandler

WRONG = "other.example.org"


async def answer(path: str, host: str, accept: str = "*/*", handler: PageHandler | None = None) -> tuple[int, str]:
    headers = [(b"host", host.encode()), (b"accept", accept.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    response = await (handler or PageHandler()).get_response_async(ASGIRequest(scope, io.BytesIO()))
    return response.status_code, response.content.decode()  # type: ignore[attr-defined]  # it is no stream


@pytest.mark.parametrize("path", ["/admin/", "/dashboard/", "/static/x.css", "/debug/stats"])
@pytest.mark.parametrize("host", [WRONG, "", "a b", "x" * 9_000, "\x00", "[::1"])
async def test_name_the_setting_where_a_host_is_wrong(path: str, host: str) -> None:
    status, body = await answer(path, host)
    assert status == 400
    assert "CLAUDE_PROXY_ALLOWED_HOSTS" in json.dumps(json.loads(body))
    assert "localhost" not in body


async def test_show_people_a_page_where_a_host_is_wrong() -> None:
    status, body = await answer("/admin/", WRONG, accept="text/html")
    assert status == 400
    assert body.startswith("<!")
    assert "CLAUDE_PROXY_ALLOWED_HOSTS" in body


async def test_log_wrong_hosts_once(caplog: pytest.LogCaptureFixture) -> None:
    handler = PageHandler()
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            await answer("/admin/", "x" * 9_000, handler=handler)
    (line,) = caplog.records
    assert line.getMessage() == "request.wrong_host"
    assert len(vars(line)["host"]) == 100


def test_report_how_many_there_were_since_the_last_line() -> None:
    now = [0.0]
    event = EventSampler(every_s=60, monotonic=lambda: now[0])
    assert [event.due() for _ in range(4)] == [1, 0, 0, 0]
    now[0] = 61
    assert [event.due() for _ in range(2)] == [4, 0]


async def test_answer_under_a_right_name() -> None:
    status, body = await answer("/static/nothing.css", "localhost")
    assert status == 404
    assert "ALLOWED_HOSTS" not in body
