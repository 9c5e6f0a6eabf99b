"""Message threads (`message-threads-2026-08-12`): conversations that the upstream keeps under a response's id. Pure.

A request that continues one has only what is new; `system` and `tools` are those of the thread.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from apiproxy.standin.answer import Answer
from apiproxy.standin.prompt import Body

_MAX_KEPT = 256
_OF_THE_THREAD = ("system", "tools")


class ThreadError(Exception):
    """A request that the API would reject; code: of `error.details`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Threads:
    """The last conversations, by the id of their last response."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def whole(self, body: Body) -> Body:
        """The request with the thread's conversation before its own. Raises ThreadError."""
        thread = body.get("thread") or {}
        if thread.get("type") != "continue":
            return body
        for name in _OF_THE_THREAD:
            if body.get(name) is not None:
                raise ThreadError(400, "thread_invalid_request", f"{name}: belongs to the thread: leave it out")
        kept = self._kept.get(thread.get("previous_message_id", ""))
        if kept is None:
            raise ThreadError(404, "thread_not_found", "thread.previous_message_id: no such thread")
        return {**kept, **body, "messages": [*kept["messages"], *body["messages"]]}

    def keep(self, body: Body, answer: Answer) -> None:
        """Keep the conversation under the answer's id, if the request asks for it. body: the whole one."""
        if not body.get("thread"):
            return
        said = {"role": "assistant", "content": [block.complete for block in answer.blocks]}
        kept = {name: body[name] for name in _OF_THE_THREAD if name in body}
        self._kept[answer.id] = {**kept, "messages": [*body["messages"], said]}
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
