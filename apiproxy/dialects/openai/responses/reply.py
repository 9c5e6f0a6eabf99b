"""Translated Responses requests, and what their answers need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.translate.messages_body import Reply, Translation


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesReply(Reply):
    """Format of a Responses answer.

    echo: request fields repeated in the answer. encrypted: include thinking and search results as `encrypted_content`.
    sources: include the pages that a web search found. response_id: id under which the answer is stored; None if it is
    not stored. compacts: the answer is a summary of the conversation.
    """

    echo: dict[str, Any]
    encrypted: bool = False
    sources: bool = False
    response_id: str | None = None
    compacts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """Id of the response to store, and the stored messages that precede it.

    size_bytes: size of the messages as JSON.
    """

    response_id: str
    history: Sequence[dict[str, Any]] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesTranslation(Translation):
    """`Translation` whose answer is a Responses object."""

    reply: ResponsesReply
