"""Tools, legacy functions and `tool_choice` for the Messages API."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.translate.capabilities import Capabilities
from apiproxy.dialects.openai.translate.forced_call import ForcedCall, answer_schema
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.json_schema import NoStrictFormError, StrictBudget, strict_form
from apiproxy.dialects.openai.translate.schema_references import object_root
from apiproxy.dialects.openai.translate.server_tools import ServerTools

MAX_STRICT_TOOLS = 20  # the API's limit per request

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """Declared function, from either API. field: path of its definition."""

    name: str
    description: str | None
    parameters: Mapping[str, Any] | None
    strict: bool
    field: str
    cache: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Tool choice of a request. field: name of the request field.

    mode: "none", "auto" or "required". name: the tool that must be called. only: allowed tools; None for all.
    """

    field: str
    mode: str = "auto"
    name: str | None = None
    only: frozenset[str] | None = None

    @property
    def forced(self) -> bool:
        """True if the model must call a tool."""
        return self.name is not None or self.mode == "required"


@dataclass(slots=True, kw_only=True)
class ToolPlan:
    """`tools` and `tool_choice` of the Messages body.

    choice: None if it equals the API's default. forced: the upstream forces a call. forced_call: the only call that the
    answer may be, instead of tools. relaxed: the request forces a call, and the upstream does not. strict: number of
    strict tools.
    """

    tools: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    choice: dict[str, Any] | None = None
    forced: bool = False
    forced_call: ForcedCall | None = None
    relaxed: bool = False
    strict: int = 0
    budget: StrictBudget = dataclasses.field(default_factory=StrictBudget)


def plan_tools(
    specs: Iterable[ToolSpec],
    choice: Choice | None,
    *,
    parallel: bool,
    capable: Capabilities,
    ignored: IgnoredFields,
    server_tools: ServerTools,
) -> ToolPlan:
    """Convert tools and choice to a form that the model supports.

    parallel: allow several calls at once. server_tools: tools after the functions. Raises ProxyError for invalid names,
    or a choice of undeclared tools.
    """
    if choice is not None:
        specs = _select_tools(list(specs), choice, server_tools)
        alone = choice.name is not None or not server_tools.tools
        if choice.forced and alone and (call := forced_call(specs, choice, capable, ignored)) is not None:
            return ToolPlan(forced_call=call)
    plan = ToolPlan()
    for spec in specs:
        plan.tools.append(_tool(spec, plan, capable=capable, ignored=ignored))
    server_tools.drop_shadowed((tool["name"] for tool in plan.tools), ignored)
    plan.tools += server_tools.tools
    if not plan.tools:
        return plan
    if choice is not None and choice.forced and not capable.forced_tools:
        plan.relaxed = True
        choice = _relax_choice(choice, plan, ignored)
    plan.choice = _tool_choice(choice)
    plan.forced = choice is not None and choice.forced
    if not parallel and plan.choice != {"type": "none"}:
        plan.choice = {**(plan.choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return plan


def declare_used_tools(plan: ToolPlan, messages: Iterable[Mapping[str, Any]]) -> None:
    """Declare the tools of earlier calls if the request declares none.

    The model may not call them.
    Bedrock and some gateways reject a history with calls of undeclared tools.
    """
    if plan.tools:
        return
    blocks = (block for message in messages if not isinstance(message["content"], str) for block in message["content"])
    names = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
    if names:
        plan.tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
        plan.choice = {"type": "none"}


def check_name(name: str, field: str) -> str:
    """Return the name of a tool. Raises ProxyError if the API would reject it."""
    if not _NAME.fullmatch(name):
        raise invalid_field(field, "must be 1 to 128 letters, digits, underscores or hyphens")
    return name


def forced_call(
    specs: Sequence[ToolSpec], choice: Choice, capable: Capabilities, ignored: IgnoredFields
) -> ForcedCall | None:
    """The only call that the choice allows, for models that reject forced tools.

    None unless an output format can enforce it.
    docs/decisions/0022-tools-of-every-kind.md.
    """
    if capable.forced_tools or not capable.structured_outputs:
        return None
    candidates = [spec for spec in specs if choice.name in (None, spec.name)]
    if len(candidates) != 1:
        return None
    spec = candidates[0]
    check_name(spec.name, f"{spec.field}.name")
    schema = answer_schema(spec.name, spec.description, _input_schema(spec, ignored))
    return ForcedCall(name=spec.name, schema=schema) if schema is not None else None


def _select_tools(specs: Sequence[ToolSpec], choice: Choice, server_tools: ServerTools) -> list[ToolSpec]:
    declared = {spec.name for spec in specs} | server_tools.names
    wanted = choice.only if choice.only is not None else frozenset({choice.name} if choice.name is not None else ())
    for name in sorted(wanted - declared):
        raise invalid_field(choice.field, f"no tool named {name!r} is declared")
    if choice.forced and not specs and not server_tools.tools:
        raise invalid_field(choice.field, "must not require a call without declared tools")
    return [spec for spec in specs if choice.only is None or spec.name in choice.only]


def _tool(spec: ToolSpec, plan: ToolPlan, *, capable: Capabilities, ignored: IgnoredFields) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": check_name(spec.name, f"{spec.field}.name")}
    if spec.description is not None:
        tool["description"] = spec.description
    tool["input_schema"] = _input_schema(spec, ignored)
    if spec.strict:
        _make_strict(tool, spec, plan, capable=capable, ignored=ignored)
    return {**tool, **spec.cache}


def _input_schema(spec: ToolSpec, ignored: IgnoredFields) -> dict[str, Any]:
    if not spec.parameters:
        return {"type": "object", "properties": {}}
    schema, given_up = object_root(spec.parameters)
    if given_up is not None:
        ignored.add(f"{spec.field}.parameters.{given_up}", "not enforced")
    if schema.setdefault("type", "object") != "object":
        raise invalid_field(f"{spec.field}.parameters.type", "must be 'object'")
    return schema


def _make_strict(
    tool: dict[str, Any], spec: ToolSpec, plan: ToolPlan, *, capable: Capabilities, ignored: IgnoredFields
) -> None:
    """Make the tool strict if possible, else report the field as ignored."""
    if not capable.structured_outputs or plan.strict >= MAX_STRICT_TOOLS:
        ignored.add(f"{spec.field}.strict")
        return
    unenforced: dict[str, None] = {}
    try:
        tool["input_schema"] = strict_form(tool["input_schema"], plan.budget, unenforced)
    except NoStrictFormError as error:
        ignored.add(f"{spec.field}.strict", str(error))
    else:
        tool["strict"] = True
        report_unenforced(unenforced, f"{spec.field}.parameters", ignored)
        plan.strict += 1


def report_unenforced(names: Iterable[str], field: str, ignored: IgnoredFields) -> None:
    """Report the constraints of a schema that the model only reads. field: path of the schema."""
    if listed := " and ".join(names):
        ignored.add(field, f"in its description, not enforced: {listed}")


def _relax_choice(choice: Choice, plan: ToolPlan, ignored: IgnoredFields) -> Choice:
    """Closest choice for models that reject forced calls; reported as ignored."""
    if choice.name is None:
        ignored.add(choice.field, "this model decides whether to call a tool")
    else:
        ignored.add(choice.field, "the only tool offered; this model decides whether to call it")
        plan.tools = [tool for tool in plan.tools if tool.get("name") == choice.name]
    return Choice(field=choice.field)


def _tool_choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.name is not None:
        return {"type": "tool", "name": choice.name}
    return {"type": {"required": "any"}.get(choice.mode, choice.mode)}
