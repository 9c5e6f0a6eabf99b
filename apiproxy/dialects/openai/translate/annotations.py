"""Citations of web pages as OpenAI's `url_citation` annotations."""

from collections.abc import Iterable, Mapping
from typing import Any

_WEB_CITATION = "web_search_result_location"


def url_citations(citations: Iterable[Mapping[str, Any]], *, start: int, end: int) -> list[dict[str, Any]]:
    """Annotations of a text block, one for each page that it cites.

    start, end: place of the block in the whole text, in characters. Citations of the request's own documents have no
    counterpart.
    """
    pages: dict[str, dict[str, Any]] = {}
    for citation in citations:
        url = citation.get("url")
        if citation.get("type") == _WEB_CITATION and isinstance(url, str) and url not in pages:
            place = {"start_index": start, "end_index": end}
            pages[url] = {"type": "url_citation", **place, "url": url, "title": citation.get("title") or url}
    return list(pages.values())


class CitedText:
    """Annotations of a text that consists of several blocks, whole or streamed."""

    def __init__(self) -> None:
        self.annotations: list[dict[str, Any]] = []
        """Those of all blocks that have ended."""
        self._chars = 0
        self._start = 0
        self._citations: list[Mapping[str, Any]] = []

    def begin(self, block: Mapping[str, Any]) -> None:
        """Start a block; its text is added with `add_text`."""
        self._start = self._chars
        self._citations = list(block.get("citations") or ())

    def add_text(self, text: str) -> None:
        """Add text of the block."""
        self._chars += len(text)

    def add_citation(self, citation: Mapping[str, Any]) -> None:
        """Add a citation of the block."""
        self._citations.append(citation)

    def end(self) -> list[dict[str, Any]]:
        """End the block, and return its annotations."""
        found = url_citations(self._citations, start=self._start, end=self._chars)
        self.annotations += found
        return found


def cited_text(blocks: Iterable[Mapping[str, Any]]) -> CitedText:
    """Annotations of complete text blocks."""
    text = CitedText()
    for block in blocks:
        text.begin(block)
        text.add_text(block.get("text") or "")
        text.end()
    return text


def chat_annotations(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The annotations in the form of Chat Completions."""
    return [
        {"type": "url_citation", "url_citation": {name: one[name] for name in one if name != "type"}} for one in found
    ]
