"""Recent answers of Responses requests: references to items, and previous responses."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apiproxy.answers.kept import KeptAnswer, Recalled, answer_identifier
from apiproxy.core.json_encoding import dumps
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Keeping
from apiproxy.dialects.openai.recent import forced_rewrite, keeps_answers, recall
from apiproxy.dialects.openai.responses.references import MAX_ANSWERS, kept_form, wanted_answers
from apiproxy.dialects.openai.responses.reply import ResponsesTranslation, StoredHistory
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.content import Block, text_block
from apiproxy.dialects.openai.translate.ignored import invalid_field
from apiproxy.dialects.openai.translate.thinking import has_tool_results, sendable

_FIELD = "previous_response_id"
_EXPIRED = "no recent answer to this API key has this id, or it has expired: send the whole conversation as `input`"


async def recall_items(
    request: ResponsesRequest, principal: Principal, *, thinks: bool, request_id: str, body_bytes: int
) -> Recalled:
    """Find the answers that the input refers to or came from. thinks: the answer may have thinking.

    Raises ProxyError as `recall`, and INVALID_REQUEST for too many references.
    """
    if not keeps_answers(principal):
        return Recalled()
    wanted = await offload(body_bytes, wanted_answers, request.input, thinks=thinks)
    return await recall(principal, wanted.needed, wanted.useful, request_id=request_id, body_bytes=body_bytes)


async def recent_history(
    request: ResponsesRequest, principal: Principal, *, model: str, request_id: str, body_bytes: int
) -> StoredHistory:
    """Find the conversation that ends with the request's previous response.

    model: the requested model.
    Raises ProxyError: INVALID_REQUEST if it has expired or is too long, DATABASE_UNAVAILABLE.
    """
    previous = answer_identifier(request.previous_response_id or "")
    found = await recall(principal, [previous], (), request_id=request_id, body_bytes=body_bytes)
    last = found.answers.get(previous)
    if last is None or last.asked is None:
        raise invalid_field(_FIELD, _EXPIRED)
    names = [answer_identifier(before) for before in last.before]
    earlier = await recall(principal, names, (), request_id=request_id, body_bytes=body_bytes + found.size_bytes)
    if len(names) >= MAX_ANSWERS or any(name not in earlier.answers for name in names):
        raise invalid_field(_FIELD, _EXPIRED)
    answers = [*(earlier.answers[name] for name in names), last]
    return StoredHistory(
        response_id=None,
        history=list(_history(answers, model=model, has_results=has_results(request))),
        size_bytes=found.size_bytes + earlier.size_bytes,
        system=[dict(block) for answer in answers if answer.asked is not None for block in answer.asked.system],
        before=(*last.before, last.message["id"]),
    )


def has_results(request: ResponsesRequest) -> bool:
    """True if the input has results of tool calls."""
    return not isinstance(request.input, str) and any(
        str(item.get("type")).endswith("_output") for item in request.input
    )


def responses_keeping(
    principal: Principal, request: ResponsesRequest, translation: ResponsesTranslation, stored: StoredHistory | None
) -> Keeping | None:
    """Instructions for keeping an answer: whole, unless the client forbids it."""
    if request.store is False or not keeps_answers(principal):
        return None
    recent = stored is None or stored.response_id is None
    return Keeping(
        seal_key=principal.seal_key,
        form=kept_form(translation.reply),
        rewrite=forced_rewrite(translation.reply),
        asked=translation.asked if recent else None,
        before=stored.before if stored is not None else (),
    )


def _history(answers: Sequence[KeptAnswer], *, model: str, has_results: bool) -> Iterator[dict[str, Any]]:
    """Messages of the turns. has_results: results of the last answer's calls follow."""
    for index, answer in enumerate(answers):
        yield from map(dict, _asked(answer))
        following = _asked(answers[index + 1]) if index + 1 < len(answers) else ()
        called = has_tool_results(following[0]) if following else has_results
        yield {"role": "assistant", "content": _content(answer, model=model, called=called)}


def _asked(answer: KeptAnswer) -> Sequence[Mapping[str, Any]]:
    return () if answer.asked is None else answer.asked.messages


def _content(answer: KeptAnswer, *, model: str, called: bool) -> list[Block]:
    """Blocks of an answer, without thinking of another model.

    A forced call that the client took for the answer itself (not called) is text, as the model wrote it.
    """
    forced = (answer.form or {}).get("forced")
    blocks = [block for block in sendable(answer) if answer.model == model or block["type"] not in THINKING_TYPES]
    if forced is None or called:
        return blocks
    return [text_block(dumps(block["input"]).decode()) if block["type"] == "tool_use" else block for block in blocks]
