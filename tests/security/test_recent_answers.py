"""Recent answers under attack: references without end, and answers of others."""

import time
import uuid

import httpx
import pytest

from tests.fuzz.target import Target

MODEL = "claude-haiku-4-5"


@pytest.mark.parametrize("count", [1_001, 140_000, 700_000])
def test_reject_references_without_end_at_once(http_target: Target, count: int) -> None:
    """A body of up to 32 MB, each reference another answer."""
    names = b",".join(b'{"type":"item_reference","id":"msg_%d_0"}' % number for number in range(count))
    body = b'{"model":"%b","input":[%b]}' % (MODEL.encode(), names)
    assert len(body) < 32 * 1024 * 1024
    with http_target.gateway.http() as client:
        begun = time.monotonic()
        refused = client.post("/v1/responses", content=body, headers={"content-type": "application/json"})
        taken_s = time.monotonic() - begun
    assert refused.status_code == 400, refused.text[:300]
    assert taken_s < 30
    assert httpx.get(f"{http_target.gateway.base_url}/healthz", timeout=5).status_code == 200


def test_bring_an_answer_once_however_often_it_is_named(http_target: Target) -> None:
    prompt = f"{uuid.uuid4().hex} [[huge=200000]]"
    with http_target.gateway.http() as client:
        first = client.post("/v1/responses", json={"model": MODEL, "input": prompt}).json()
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        many = {"model": MODEL, "input": [{"role": "user", "content": "a"}, *[reference] * 50_000]}
        refused = client.post("/v1/responses", json=many)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input.2.id"
