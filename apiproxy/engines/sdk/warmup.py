"""A turn before the first one, which the CLI refuses by itself: docs/decisions/0009-what-load-does.md.

What a process does for the first time takes it three times as long. The rehearsal is a message longer than the limit
that keeps the CLI from a second call of a turn (docs/decisions/0007), so it goes all the way to the upstream's door and
no further. Should a CLI open that door, it finds a request that no upstream answers: without messages, for no model.
"""

import asyncio
import uuid

from apiproxy.engines.sdk.message_buffer import MessageBuffer
from apiproxy.engines.sdk.overlay import resting_overlay, turn_lines
from apiproxy.engines.sdk.transport import CliTransport, new_control_id

_WORDS = "rehearsal " * 100
_INBOX_BYTES = 1024 * 1024


async def rehearse(transport: CliTransport) -> str:
    """Plays the turn to its result; the uuid of the message, to be rewound. Raises ConnectionError: the process ended.

    Takes 0.1 s on a free core; the caller sets the deadline.
    """
    message_uuid, control_id = str(uuid.uuid4()), new_control_id()
    message_buffer = MessageBuffer(limit_bytes=_INBOX_BYTES)
    transport.start_turn(message_buffer, on_sent=_nobody_waits)
    transport.expect(control_id).add_done_callback(_retrieve)
    overlay = resting_overlay()
    await transport.write_bytes(
        turn_lines(overlay, control_id=control_id, message_uuid=message_uuid, content=_WORDS),
    )
    while (messages := await message_buffer.take()) is not None:
        if any(message["type"] == "result" for message in messages):
            return message_uuid
    raise ConnectionResetError("the worker ended in its rehearsal")


def _nobody_waits() -> None:
    """Nobody's start depends on it."""


def _retrieve(answer: "asyncio.Future[dict[str, object]]") -> None:
    """A refused overlay shows in the first turn; asyncio must not warn that nobody looked."""
    if not answer.cancelled():
        answer.exception()
