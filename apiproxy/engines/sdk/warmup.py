"""Warm-up turn of a new worker, rejected by the CLI itself: docs/decisions/0009-what-load-does.md.

The first turn of a process takes three times as long as later ones. The warm-up message is longer than the limit that
keeps the CLI from a second call in a turn (docs/decisions/0007), so the CLI does everything but send the upstream
request. If it did, the upstream would reject the request, which has no messages and no model.
"""

import uuid

from apiproxy.core.futures import retrieve
from apiproxy.engines.sdk.message_buffer import MessageBuffer
from apiproxy.engines.sdk.overlay import empty_overlay, empty_overlay_headers, turn_lines
from apiproxy.engines.sdk.process import new_control_id
from apiproxy.engines.sdk.transport import CliTransport

_TEXT = "warm-up " * 100
_BUFFER_BYTES = 1024 * 1024


async def run_warmup_turn(transport: CliTransport, *, operator_headers: str) -> str:
    """Run the turn and return the uuid of its message, for the rewind.

    Raises ConnectionError if the process ends.
    Takes 0.1 s on a free core; the caller sets the deadline. operator_headers: `LaunchSpec.custom_headers`.
    """
    message_uuid, control_id = str(uuid.uuid4()), new_control_id()
    message_buffer = MessageBuffer(limit_bytes=_BUFFER_BYTES)
    transport.start_turn(message_buffer, on_sent=_noop)
    transport.expect(control_id).add_done_callback(retrieve)
    headers = empty_overlay_headers(operator_headers)
    await transport.write_bytes(
        turn_lines(empty_overlay(), headers=headers, control_id=control_id, message_uuid=message_uuid, content=_TEXT)
    )
    while (messages := await message_buffer.take()) is not None:
        if any(message["type"] == "result" for message in messages):
            return message_uuid
    raise ConnectionResetError("the worker ended in its warm-up turn")


def _noop() -> None:
    """Ignore `on_sent`."""
