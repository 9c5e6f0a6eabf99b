"""Input items that are only named: output items of recent answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apiproxy.answers.kept import KeptAnswer, Recalled, answer_identifier, call_identifier
from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.responses.call_items import Item
from apiproxy.dialects.openai.responses.client_items import ClientItem
from apiproxy.dialects.openai.responses.item_schemas import (
    ITEM,
    CallOutputItem,
    CompactionItem,
    CompactionTrigger,
    CustomCallItem,
    FunctionCallItem,
    HostedItem,
    MessageItem,
    ReasoningItem,
    ReferenceItem,
)
from apiproxy.dialects.openai.responses.item_schemas import Item as InputItem
from apiproxy.dialects.openai.responses.reply import ResponsesReply, reply_form, reply_from
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.server_history import ServerItem
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

MAX_ANSWERS = 1_000
"""Answers that one request may refer to."""

_SEND_THEM = (
    "send the item itself. A client that sends items by id stops doing so with `store: false`, and then carries its "
    'thinking with `include: ["reasoning.encrypted_content"]`'
)

OtherItem = (
    MessageItem
    | FunctionCallItem
    | CustomCallItem
    | CallOutputItem
    | ReasoningItem
    | CompactionItem
    | CompactionTrigger
    | HostedItem
)
GivenItem = ClientItem | ServerItem | OtherItem


@dataclass(frozen=True, slots=True)
class Wanted:
    """Identifiers of the answers that a request may need. needed: without them it cannot be answered."""

    needed: tuple[str, ...] = ()
    useful: tuple[str, ...] = ()


def wanted_answers(items: str | Sequence[Mapping[str, Any]], *, thinks: bool) -> Wanted:
    """Answers that valid input items refer to, and with thinks those of their tool calls, newest first.

    Raises ProxyError (INVALID_REQUEST) for too many references.
    """
    needed: dict[str, None] = {}
    useful: dict[str, None] = {}
    for item in reversed(items) if not isinstance(items, str) else ():
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        if kind == "item_reference":
            needed[answer_identifier(answer_of_item(item["id"]))] = None
        elif kind == "reasoning" and not item.get("encrypted_content") and item.get("id"):
            useful[answer_identifier(answer_of_item(item["id"]))] = None
        elif thinks and isinstance(call_id := item.get("call_id"), str) and kind.endswith("_call"):
            useful[call_identifier(call_id)] = None
    if len(needed) > MAX_ANSWERS:
        raise invalid_field("input", f"refers to more than {MAX_ANSWERS} answers: {_SEND_THEM}")
    return Wanted(tuple(needed), tuple(it for it in useful if it not in needed))


class References:
    """Output items of recent answers, by id; each can be used once in a request.

    model: the requested model.
    """

    def __init__(self, recalled: Recalled, *, model: str, ignored: IgnoredFields) -> None:
        self._recalled = recalled
        self._model = model
        self._ignored = ignored
        self._items: dict[str, dict[str, Item]] = {}
        self._used: set[str] = set()

    def resolve(self, item: InputItem, field: str) -> GivenItem | None:
        """The item, or the one that it names; None for one that cannot be used, which is reported as ignored.

        field: path of the item. Raises ProxyError (INVALID_REQUEST) for an unknown item and for a second reference.
        """
        if isinstance(item, ReferenceItem):
            found = self._item(item.id, f"{field}.id")
        elif isinstance(item, ReasoningItem) and not item.encrypted_content and item.id:
            found = self._thinking(item.id)
        else:
            return item
        named = ITEM.validate_python(found) if found is not None else None
        assert not isinstance(named, ReferenceItem)
        return named

    def _item(self, item_id: str, field: str) -> Item | None:
        if item_id in self._used:
            raise invalid_field(field, "a second reference to this item")
        self._used.add(item_id)
        item = self._find(item_id)
        if item is None:
            raise self._unknown(item_id, field)
        return self._usable(item, item_id)

    def _thinking(self, item_id: str) -> Item | None:
        item = self._find(item_id) if item_id not in self._used else None
        self._used.add(item_id)
        if item is None or item["type"] != "reasoning":
            self._ignored.add("input.reasoning", "no encrypted_content, and not in a recent answer")
            return None
        return self._usable(item, item_id)

    def _answer(self, item_id: str) -> KeptAnswer | None:
        return self._recalled.answers.get(answer_identifier(answer_of_item(item_id)))

    def _find(self, item_id: str) -> Item | None:
        name = answer_of_item(item_id)
        if name not in self._items:
            answer = self._answer(item_id)
            self._items[name] = {} if answer is None else {item["id"]: item for item in items_of(answer)}
        return self._items[name].get(item_id)

    def _usable(self, item: Item, item_id: str) -> Item | None:
        answer = self._answer(item_id)
        if item["type"] != "reasoning" or (answer is not None and answer.model == self._model):
            return item
        self._ignored.add("input.reasoning", "thinking of another model")
        return None

    def _unknown(self, item_id: str, field: str) -> ProxyError:
        if answer_identifier(answer_of_item(item_id)) in self._recalled.too_large:
            return invalid_field(field, f"the items that the request refers to are too large together: {_SEND_THEM}")
        reason = "no recent answer to this API key has such an item; answers are kept for a limited time"
        return invalid_field(field, f"{reason}: {_SEND_THEM}")


def answer_of_item(item_id: str) -> str:
    """Id of the answer, without its prefix, that an item id names (`item_id_for`)."""
    return item_id.partition("_")[2].rpartition("_")[0]


def kept_form(reply: ResponsesReply) -> dict[str, Any]:
    """JSON data to make the output items of a kept answer again, whose forced call is one in the message."""
    return {"reply": reply_form(replace(reply, echo={}, forced_call=None)), "forced": reply.forced_call}


def items_of(answer: KeptAnswer) -> Iterator[Item]:
    """Output items of an answer, thinking with its `encrypted_content`."""
    if answer.form is None:
        return
    reply = replace(reply_from(answer.form["reply"]), encrypted=True)
    yield from response_object(answer.message, reply, created=0)["output"]
