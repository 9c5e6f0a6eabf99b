"""A CLI that speaks just enough of the stream-json protocol, and misbehaves as the last user text says.

    [[cli=good]] and without a word: answers "hello"
    [[cli=dies-at-bind]], [[cli=refuses]]: when it gets the overlay
    [[cli=dies]], [[cli=dies-later]]: before, and after its first byte
    [[cli=deaf]]: stops itself (SIGSTOP) after its first byte, so that it hears no interrupt
    [[cli=shouts]]: 70 MB on stderr without an end of line, and 5 MB with
    [[cli=babbles]]: lines on stdout that are no messages
    [[cli=lies]]: messages on stdout that are none of the protocol's

While a file `broken` lies beside it, it ends at once; while a file `slow` does, it is not ready.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

BROKEN = "broken"
SLOW = "slow"
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "fake", "content": [], "usage": {}}
_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": _MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {}},
    {"type": "message_stop"},
]
_BABBLE = ["Warning: something", "{", "[]", "5", "null", '"text"', "{}", '{"type": "novel"}', '{"type": 5}', "\x00\xff"]
_LIES: list[Any] = [{"type": "stream_event"}, {"type": "stream_event", "event": 5}]


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def behaviour_in(request: dict[str, Any]) -> str:
    overlay = json.loads(request["settings"]["env"]["CLAUDE_CODE_EXTRA_BODY"])
    if not overlay["messages"]:
        return "rehearses"  # before its first turn: it is refused by the CLI itself
    found = re.search(r"\[\[cli=([\w-]+)]]", json.dumps(overlay["messages"][-1]))
    return found[1] if found else "good"


def answer_control(behaviour: str, request_id: str, subtype: str) -> None:
    response: dict[str, Any] = {"subtype": "success", "request_id": request_id, "response": {}}
    if subtype == "apply_flag_settings":
        if behaviour == "dies-at-bind":
            sys.exit(1)
        if behaviour == "refuses":
            response = {"subtype": "error", "request_id": request_id, "error": "no"}
    elif subtype == "rewind_conversation":
        response["response"] = {"rewound": True}
    say(type="control_response", response=response)


def shout() -> None:
    for _ in range(70):
        sys.stderr.write("x" * 2**20)
    for _ in range(5_000):
        sys.stderr.write("\n" + "y" * 1_000)
    sys.stderr.flush()


def answer_turn(behaviour: str) -> None:
    if behaviour == "dies":
        sys.exit(1)
    if behaviour == "rehearses":
        say(type="result", subtype="success", is_error=True, terminal_reason="blocking_limit")
        return
    if behaviour == "shouts":
        shout()
    if behaviour == "babbles":
        sys.stdout.write("\n".join(_BABBLE) + "\n")
    if behaviour == "lies":
        for lie in _LIES:
            say(**lie)
    for event in _EVENTS:
        say(type="stream_event", event=event)
        if event["type"] == "content_block_delta" and behaviour == "dies-later":
            sys.exit(1)
        if event["type"] == "content_block_delta" and behaviour == "deaf":
            os.kill(os.getpid(), signal.SIGSTOP)
    say(type="result", subtype="success", is_error=False)


def main() -> None:
    folder = Path(sys.argv[1])
    if (folder / BROKEN).exists():
        sys.stderr.write("broken\n")
        sys.exit(3)
    while (folder / SLOW).exists():
        time.sleep(0.05)
    behaviour = "good"
    for text in sys.stdin:
        line = json.loads(text)
        if line["type"] == "control_request":
            request = line["request"]
            if request["subtype"] == "apply_flag_settings":
                behaviour = behaviour_in(request)
            answer_control(behaviour, line["request_id"], request["subtype"])
        elif line["type"] == "user":
            answer_turn(behaviour)


if __name__ == "__main__":
    main()
