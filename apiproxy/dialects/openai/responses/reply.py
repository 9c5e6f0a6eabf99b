"""Translated Responses requests, and what their answers need."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from apiproxy.core.turns import Asked
from apiproxy.dialects.openai.translate.called_tools import from_stored
from apiproxy.dialects.openai.translate.content import Block
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

    response_id: None if the response is not stored. size_bytes: size of the messages as JSON. system: instructions that
    were among the messages. before: ids of the answers that make up the history, if they are recent ones.
    """

    response_id: str | None
    history: Sequence[dict[str, Any]] = ()
    size_bytes: int = 0
    system: Sequence[Block] = ()
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesTranslation(Translation):
    """`Translation` whose answer is a Responses object.

    asked: new part of the conversation, to continue it from the answer; None if that is not possible.
    """

    reply: ResponsesReply
    asked: Asked | None = None


def reply_form(reply: ResponsesReply) -> dict[str, Any]:
    """JSON data of a reply, for `reply_from`."""
    return {
        **asdict(replace(reply, echo={})),
        "echo": reply.echo,
    }  # a copy of the echo would hold the tools' schemas twice


def reply_from(form: Mapping[str, Any]) -> ResponsesReply:
    """Reply from its JSON data."""
    return ResponsesReply(**{**form, "called": from_stored(form.get("called") or {})})
