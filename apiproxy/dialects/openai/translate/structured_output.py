"""JSON answers by `output_config.format`, by a tool, or by an instruction.

The choice is explained in docs/decisions/0004-openai-structured-output.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from apiproxy.dialects.openai.translate.capabilities import Capabilities
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.json_schema import NoStrictFormError, strict_form
from apiproxy.dialects.openai.translate.schema_references import object_root
from apiproxy.dialects.openai.translate.tools import ToolPlan, report_unenforced

ANSWER_TOOL = "json_answer"

_TOOL_TEXT = "Gives the final answer to the user, as a JSON object. Call this tool instead of answering in text."
_INSTRUCTION = "Answer with a single JSON object and nothing else: no text around it, no code fence."


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest:
    """JSON answer that the request asks for.

    schema: None for any object. strict: the answer must conform to the schema. field, schema_field: paths in the
    request.
    """

    field: str
    schema_field: str
    schema: Mapping[str, Any] | None = None
    strict: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """One of `output_config.format`, an answer tool, or an instruction."""

    format: dict[str, Any] | None = None
    answer_tool: str | None = None
    instruction: str | None = None


def plan_output(
    wanted: OutputRequest | None, tools: ToolPlan, *, capable: Capabilities, thinking: bool, ignored: IgnoredFields
) -> OutputPlan:
    """Choose how to get a JSON answer from a model; may add a tool to `tools`.

    wanted: None for text, unless the tools need JSON for a forced call. thinking: the request asks for thinking. Raises
    ProxyError for a strict schema that cannot be enforced.
    """
    if tools.forced_call is not None:
        return OutputPlan(format={"type": "json_schema", "schema": tools.forced_call.schema})
    if wanted is None:
        return OutputPlan()
    if tools.relaxed:
        # With a format, the model could not call the tool that the client waits for.
        ignored.add(wanted.field, "the answer is to be a call")
        return OutputPlan()
    why = "any JSON object is accepted"
    if wanted.schema is not None:
        try:
            if capable.structured_outputs:
                unenforced: dict[str, None] = {}
                schema = strict_form(wanted.schema, tools.budget, unenforced)
                report_unenforced(unenforced, wanted.schema_field, ignored)
                return OutputPlan(format={"type": "json_schema", "schema": schema})
            why = "this model has no structured outputs"
        except NoStrictFormError as error:
            why = str(error)
    if tools.forced:
        return OutputPlan()  # the answer is a call of the client's tool, to which the format does not apply
    if capable.forced_tools and (capable.forced_while_thinking or not thinking):
        return OutputPlan(answer_tool=_add_answer_tool(wanted, tools, ignored))
    if wanted.strict:
        raise invalid_field(wanted.schema_field, f"cannot be enforced on this model ({why})")
    ignored.add(wanted.field, "requested in the prompt, not enforced")
    return OutputPlan(instruction=_instruction(wanted))


def _instruction(wanted: OutputRequest) -> str:
    if wanted.schema is None:
        return _INSTRUCTION
    return f"{_INSTRUCTION} It has to match this JSON schema: {orjson.dumps(wanted.schema).decode()}"


def _add_answer_tool(wanted: OutputRequest, tools: ToolPlan, ignored: IgnoredFields) -> str:
    """Force a call of this tool, or of the client's tools if allowed."""
    schema, given_up = object_root(wanted.schema or {})
    if given_up is not None:
        ignored.add(f"{wanted.schema_field}.{given_up}", "not enforced")
    schema = {"type": "object", **schema}
    if schema["type"] != "object":
        raise invalid_field(f"{wanted.schema_field}.type", "must be 'object'")
    name = ANSWER_TOOL
    taken = {tool.get("name") for tool in tools.tools}
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
