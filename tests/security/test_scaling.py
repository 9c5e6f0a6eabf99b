"""The time for a body grows at most linearly with its size, in every function that reads it and for any content."""

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from apiproxy.core import json_pieces
from tests.support.scaling import READERS, Reader, assert_linear, cases, read_or_refuse

SMALL_BYTES = 50_000
"""At the sizes of the promise, 1 and 10 MB: test_scaling_full.py."""

_WALKERS = (
    "apiproxy.http.body",
    "apiproxy.http.charset",
    "apiproxy.http.content_coding",
    "apiproxy.core.json_values",
    "apiproxy.core.json_pieces",
    "apiproxy.sessions.conversation_id",
    "apiproxy.sessions.kept",
    "apiproxy.sessions.lineage",
    "apiproxy.limits.estimate",
    "apiproxy.core.pricing",
    "apiproxy.core.input_estimate",
    "apiproxy.keys.allow_lists",
    "apiproxy.engines.sdk.overlay",
    "apiproxy.core.json_encoding",
    "apiproxy.dialects.anthropic.parse",
    "apiproxy.dialects.anthropic.schemas",
    "apiproxy.dialects.openai.translate.validation",
    "apiproxy.dialects.openai.translate.call_arguments",
    "apiproxy.dialects.openai.translate.json_schema",
    "apiproxy.dialects.openai.translate.patterns",
    "apiproxy.dialects.openai.translate.property_keys",
    "apiproxy.dialects.openai.translate.schema_references",
    "apiproxy.dialects.openai.translate.content",
    "apiproxy.dialects.openai.translate.conversation",
    "apiproxy.dialects.openai.translate.media",
    "apiproxy.dialects.openai.translate.tools",
    "apiproxy.dialects.openai.chat.mixed",
    "apiproxy.dialects.openai.chat.parse",
    "apiproxy.dialects.openai.responses.input_items",
    "apiproxy.dialects.openai.responses.summary",
    "apiproxy.dialects.openai.translate.prompt_cache",
    "apiproxy.dialects.openai.chat.tools",
    "apiproxy.dialects.openai.translate.messages_body",
    "apiproxy.dialects.openai.responses.parse",
    "apiproxy.dialects.openai.responses.items",
    "apiproxy.dialects.openai.responses.tools",
    "apiproxy.dialects.openai.responses.tool_choice",
    "apiproxy.dialects.openai.responses.server_tools",
    "apiproxy.dialects.openai.responses.server_history",
    "apiproxy.dialects.openai.responses.sealed_search",
    "apiproxy.dialects.openai.chat.web_search",
    "apiproxy.dialects.openai.translate.server_tools",
    "apiproxy.dialects.openai.translate.web_search",
    "apiproxy.dialects.openai.translate.mcp",
    "apiproxy.dialects.openai.responses.client_items",
    "apiproxy.dialects.openai.translate.called_tools",
    "apiproxy.dialects.openai.responses.content",
    "apiproxy.dialects.openai.translate.structured_output",
    "observability.tracing.body_stats",
    "observability.tracing.prompt_masking",
    "observability.tracing.redact",
)
"""Modules whose functions all walk a part of a body."""
_NOT_WALKERS = {
    "beta_names", "normal", "_short", "max_usage", "default_max_tokens", "compare", "followed", "common_length",
    "packed", "unpacked", "_longest_head", "forced", "spent", "read_json_object", "_object", "take_body", "_window",
    "_invalid_beta", "check_betas", "sent_betas", "empty_overlay", "empty_overlay_line",
    "empty_overlay_headers", "header_lines", "check_thread", "_text_of", "cache_mode", "encode_summary",
    "summary_request", "read_page", "for_flat_tools",
    "allows_beta", "allows_server_tool",
    "received_body", "_decompressed", "_step", "feed", "complete", "_invalid",
    "_reserve_of", "_reason",
}  # fmt: skip
"""Functions of theirs that get something else, or are bounded."""
_COVERED_BY_OTHER_TESTS = {
    "uploaded_file_block", "document_url_block", "_file_block", "_file", "_image", "_guess_type", "_extended",
    "_occurrences", "_masked", "image_block", "_convert_to_text", "_relax_choice", "_instruction", "_add_answer_tool",
    "_cannot_force", "from_stored", "_refuse_what_needs_a_store", "_promote_system", "_is_telling",
}  # fmt: skip
"""Functions that do a fixed amount of work with one element, or with text of ours."""


@pytest.mark.parametrize(("reader", "shape"), list(cases()))
def test_time_grows_with_the_size(reader: str, shape: str) -> None:
    assert_linear(reader, shape, small_bytes=SMALL_BYTES)


def test_table_covers_all_that_walks_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function of those modules is called by some reader on some shape."""
    monkeypatch.setattr(json_pieces, "_PIECE_BYTES", 64)
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        for reader, shape in cases():
            read_or_refuse(READERS[reader].read, READERS[reader].shapes[shape](2_000))
    finally:
        sys.setprofile(previous)

    missed = {
        f"{module}.{name}"
        for module in _WALKERS
        for name, code in functions_of(import_module(module))
        if code not in called and name not in _NOT_WALKERS | _COVERED_BY_OTHER_TESTS and not name.startswith("__")
    }
    assert not missed, "give tests/support/scaling.py a reader or a shape for these"


def functions_of(module: ModuleType) -> Iterator[tuple[str, CodeType]]:
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield name, value.__code__
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for method, function in vars(value).items():
                plain = function.fget if isinstance(function, property) else function
                if inspect.isfunction(plain) and plain.__module__ == module.__name__:
                    yield method, plain.__code__


def test_measure_finds_quadratic_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def quadratic(raw: bytes) -> int:
        return sum(raw[at:].count(b"z") for at in range(0, len(raw), 512))  # each time a copy of all the rest

    monkeypatch.setitem(READERS, "quadratic", Reader(quadratic, {"text": bytes}))
    with pytest.raises(AssertionError, match="for 10 times as many"):
        assert_linear("quadratic", "text", small_bytes=SMALL_BYTES)
