"""Bounds of what a server may offer and return."""

from typing import Any

import pytest
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

from apiproxy.mcp.results import MAX_IMAGE_CHARS, MAX_IMAGES, MAX_TEXT_CHARS, bounded_result
from apiproxy.mcp.tools import (
    MAX_DESCRIPTION_CHARS,
    MAX_NAME_CHARS,
    MAX_OFFER_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_TOOLS,
    offer_of,
)

ALL = ("*",)


def tool(name: str, description: str = "", schema: dict[str, Any] | None = None) -> Tool:
    return Tool(name=name, description=description, input_schema=schema or {"type": "object"})


def text(value: str) -> TextContent:
    return TextContent(type="text", text=value)


def image(characters: int = 4) -> ImageContent:
    return ImageContent(type="image", data="A" * characters, mime_type="image/png")


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (ALL, {"a", "ab", "b.c"}),
        (("a*",), {"a", "ab"}),
        (("a", "b.*"), {"a", "b.c"}),
        (("b?c", "[a]"), set()),
        ((), set()),
    ],
)
def test_filter_tools_by_pattern(allowed: tuple[str, ...], names: set[str]) -> None:
    assert {it.name for it in offer_of([tool("a"), tool("ab"), tool("b.c")], allowed=allowed).tools} == names


def test_limit_number_of_tools() -> None:
    offer = offer_of([tool(f"t{number}") for number in range(MAX_TOOLS + 1)], allowed=ALL)

    assert len(offer.tools) == MAX_TOOLS
    assert offer.left_out[0].startswith(f"t{MAX_TOOLS}: ")


@pytest.mark.parametrize(
    "odd",
    [
        tool("a", schema={"description": "x" * MAX_SCHEMA_BYTES}),
        tool("a" * (MAX_NAME_CHARS + 1)),
        tool(""),
        tool("same"),
    ],
)
def test_leave_tools_out_that_cannot_be_offered(odd: Tool) -> None:
    offer = offer_of([tool("same"), odd], allowed=ALL)

    assert [it.name for it in offer.tools] == ["same"]
    assert len(offer.left_out) == 1


def test_limit_size_of_all_tools() -> None:
    large = {"description": "x" * (MAX_SCHEMA_BYTES - 100)}
    offer = offer_of([tool(f"t{number}", schema=large) for number in range(MAX_TOOLS)], allowed=ALL)

    assert len(offer.tools) == MAX_OFFER_BYTES // (MAX_SCHEMA_BYTES - 80)


def test_cut_descriptions_off() -> None:
    (cut,) = offer_of([tool("a", "x" * 2 * MAX_DESCRIPTION_CHARS)], allowed=ALL).tools

    assert cut.description.endswith("x … (cut off by the gateway)")


def test_keep_small_results() -> None:
    small = CallToolResult(content=[text("a"), image(), text("b")], structured_content={"a": 2**70})

    assert bounded_result(small) == small


def test_cut_text_off_over_all_blocks() -> None:
    result = bounded_result(CallToolResult(content=[text("x" * MAX_TEXT_CHARS), image(), text("y" * 5)]))

    assert [len(part) for part in texts(result)[:-1]] == [MAX_TEXT_CHARS]
    assert texts(result)[-1].startswith(f"[The result has {MAX_TEXT_CHARS + 5} characters.")


def test_drop_large_structured_content() -> None:
    result = bounded_result(CallToolResult(content=[text("a")], structured_content={"a": "x" * MAX_TEXT_CHARS}))

    assert result.structured_content is None


def test_leave_out_large_and_many_images() -> None:
    result = bounded_result(CallToolResult(content=[image(MAX_IMAGE_CHARS + 1), *[image()] * (MAX_IMAGES + 1)]))

    assert sum(isinstance(block, ImageContent) for block in result.content) == MAX_IMAGES
    assert len(texts(result)) == 2


def test_show_other_content_as_text() -> None:
    blocks = [
        AudioContent(type="audio", data="", mime_type="audio/wav"),
        ResourceLink(type="resource_link", uri="file:///a", name="a"),
        EmbeddedResource(type="resource", resource=TextResourceContents(uri="file:///a", text="inside")),
        EmbeddedResource(type="resource", resource=BlobResourceContents(uri="file:///b", blob="")),
    ]

    assert texts(bounded_result(CallToolResult(content=blocks))) == [
        "[Audio was left out.]",
        "[Resource file:///a]",
        "inside",
        "[Resource file:///b was left out: it is not text.]",
    ]
