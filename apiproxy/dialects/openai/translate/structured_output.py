"""JSON answers: `response_format` as `output_config.format`, a tool that carries the answer, or an instruction.

Which of them, and why: docs/decisions/0004-openai-structured-output.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from apiproxy.dialects.openai.translate.capabilities import Capabilities
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.json_schema import NoStrictFormError, strict_form
from apiproxy.dialects.openai.translate.tools import ToolPlan

ANSWER_TOOL = "json_answer"

_TOOL_TEXT = "Gives the final answer to the user, as a JSON object. Call this tool instead of answering in text."
_INSTRUCTION = "Answer with a single JSON object and nothing else: no text around it, no code fence."


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest:
    """A JSON answer that the request wants.

    schema is None for any object; strict: an answer that does not match it is of no use. field and schema_field: where
    the request says so.
    """

    field: str
    schema_field: str
    schema: Mapping[str, Any] | None = None
    strict: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """What it takes: a value for `output_config.format`, the name of a tool that carries the answer, or a sentence."""

    format: dict[str, Any] | None = None
    answer_tool: str | None = None
    instruction: str | None = None


def plan_output(
    wanted: OutputRequest, tools: ToolPlan, *, capable: Capabilities, thinking: bool, ignored: IgnoredFields
) -> OutputPlan:
    """How to get the answer from this model. thinking: the request asks for it. May add the answer's tool to `tools`.

    Raises ProxyError for a schema to which the model cannot be held.
    """
    why = "any JSON object will do"
    if wanted.schema is not None:
        try:
            if capable.structured_outputs:
                return OutputPlan(format={"type": "json_schema", "schema": strict_form(wanted.schema, tools.budget)})
            why = "this model has no structured outputs"
        except NoStrictFormError as error:
            why = str(error)
    if tools.forced:
        return OutputPlan()  # the answer will be a call of the client's own tool, which no format concerns
    if capable.forced_tools and (capable.forced_while_thinking or not thinking):
        return OutputPlan(answer_tool=_add_answer_tool(wanted, tools))
    if wanted.strict:
        raise invalid_field(wanted.schema_field, f"this model cannot be held to it ({why})")
    ignored.add(wanted.field, "asked for in the prompt, not enforced")
    return OutputPlan(instruction=_instruction(wanted))


def _instruction(wanted: OutputRequest) -> str:
    if wanted.schema is None:
        return _INSTRUCTION
    return f"{_INSTRUCTION} It has to match this JSON schema: {orjson.dumps(wanted.schema).decode()}"


def _add_answer_tool(wanted: OutputRequest, tools: ToolPlan) -> str:
    """Makes the model call something: this tool, or one of the client's own if it may call these."""
    schema = {"type": "object", **(wanted.schema or {})}
    if schema["type"] != "object":
        raise invalid_field(f"{wanted.schema_field}.type", "must be 'object'")
    name = ANSWER_TOOL
    taken = {tool["name"] for tool in tools.tools}
    while name in taken:
        name += "_"
    description = f"{_TOOL_TEXT} {wanted.description}" if wanted.description else _TOOL_TEXT
    only_this = not tools.tools or (tools.choice is not None and tools.choice["type"] == "none")
    tools.tools.append({"name": name, "description": description, "input_schema": schema})
    if only_this:
        tools.choice = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    else:
        tools.choice = {**(tools.choice or {}), "type": "any"}
    return name
