"""First request of Codex 0.171, with one tool of each kind and our own wording."""

from typing import Any

PATCH_GRAMMAR = (
    'start: begin_patch hunk+ end_patch\nbegin_patch: "*** Begin Patch" LF\nend_patch: "*** End Patch" LF?\n'
)
_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": False}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "exec_command",
        "description": "Runs a command.",
        "strict": False,
        "parameters": {**_SCHEMA, "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]},
    },
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files. FREEFORM: do not wrap the patch in JSON.",
        "format": {"type": "grammar", "syntax": "lark", "definition": PATCH_GRAMMAR},
    },
    {
        "type": "namespace",
        "name": "mcp__calc",
        "description": "Tools in the mcp__calc namespace.",
        "tools": [
            {
                "type": "function",
                "name": "add",
                "description": "adds",
                "strict": False,
                "parameters": {
                    **_SCHEMA,
                    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                    "required": ["a", "b"],
                },
            }
        ],
    },
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Finds tools.",
        "parameters": {**_SCHEMA, "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
    {"type": "web_search", "external_web_access": True},
]


def startup_body(*items: dict[str, Any], prompt: str = "hi", model: str = "claude-sonnet-5-5") -> dict[str, Any]:
    """The body of the first request, or of a later one with these items behind the prompt."""
    return {
        "model": model,
        "instructions": "You are a coding agent.",
        "stream": True,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a21d1a",
        "client_metadata": {"originator": "codex_exec"},
        "text": {"verbosity": "low"},
        "input": [
            {"type": "message", "id": "msg_1", "role": "developer", "content": _text("Ask before you delete.")},
            {"type": "message", "role": "user", "content": _text("The folder is /work.")},
            {"type": "message", "role": "user", "content": _text(prompt)},
            *items,
        ],
        "tools": TOOLS,
    }


def _text(text: str) -> list[dict[str, str]]:
    return [{"type": "input_text", "text": text}]
