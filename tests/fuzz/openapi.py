"""Schemathesis over the gateway's own OpenAPI document: requests that it allows, and such as it does not."""

from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from proxy_site.openapi import document
from tests.fuzz.exchange import Request

_BASE = "http://gateway"
_OWN = {"host", "content-length", "x-api-key", "connection", "transfer-encoding"}


def allowed() -> st.SearchStrategy[Request]:
    """Requests as the document wants them."""
    return _cases(GenerationMode.POSITIVE)


def refused() -> st.SearchStrategy[Request]:
    """Requests with something that the document does not allow."""
    return _cases(GenerationMode.NEGATIVE)


def _cases(mode: GenerationMode) -> st.SearchStrategy[Request]:
    schema = schemathesis.openapi.from_dict(document())
    return schema.as_strategy(mode).map(_request)


def _request(case: Case[Any]) -> Request:
    kwargs: dict[str, Any] = case.as_transport_kwargs(base_url=_BASE)
    known = {
        name: kwargs[name]
        for name in ("method", "url", "headers", "params", "cookies", "json", "data")
        if name in kwargs
    }
    prepared = requests.Request(**known).prepare()
    headers = [(_bytes(name), _bytes(value)) for name, value in prepared.headers.items() if name.lower() not in _OWN]
    return Request(
        method=_bytes(prepared.method or "GET"),
        target=_bytes(prepared.path_url),
        headers=tuple(headers),
        body=_bytes(prepared.body or b""),
    )


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
