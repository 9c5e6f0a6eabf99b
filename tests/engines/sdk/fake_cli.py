"""A CLI that speaks just enough of the stream-json protocol, and misbehaves as its argument says.

For what the bundled one cannot be made to do. `good` answers every turn with "hello".
"""

import json
import sys
from typing import Any

_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "fake", "content": [], "usage": {}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {}},
    {"type": "message_stop"},
]


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


rehearsed = False


def answer_control(behaviour: str, request_id: str, subtype: str) -> None:
    if behaviour == "mute" or (behaviour == "ignores-interrupt" and subtype == "interrupt"):
        return
    response: dict[str, Any] = {"subtype": "success", "request_id": request_id, "response": {}}
    if behaviour == "refuses-overlay" and subtype == "apply_flag_settings":
        response = {"subtype": "error", "request_id": request_id, "error": "no"}
    elif subtype == "rewind_conversation":
        response["response"] = {
            "rewound": (behaviour != "does-not-rewind" or not rehearsed) and behaviour != "keeps-rehearsal"
        }
    say(type="control_response", response=response)


def answer_turn(behaviour: str) -> None:
    if behaviour == "dies-in-turn":
        sys.exit(1)
    unfinished = behaviour == "ignores-interrupt"
    for event in _EVENTS[:3] if unfinished else _EVENTS:
        say(type="stream_event", event=event)
    if not unfinished:
        say(type="result", subtype="success", is_error=False)


def main() -> None:
    global rehearsed
    behaviour = sys.argv[1]
    for text in sys.stdin:
        line = json.loads(text)
        if line["type"] == "control_request":
            answer_control(behaviour, line["request_id"], line["request"]["subtype"])
            rehearsed = rehearsed or line["request"]["subtype"] == "rewind_conversation"
        elif line["type"] == "user" and not rehearsed:
            if behaviour == "dies-in-rehearsal":
                sys.exit(1)
            say(type="result", subtype="success", is_error=True, terminal_reason="blocking_limit")
        elif line["type"] == "user":
            answer_turn(behaviour)


if __name__ == "__main__":
    main()
