"""Tools and tool choice of Responses requests."""

from collections.abc import Iterator

from apiproxy.dialects.openai.chat.tools import allowed_names
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.tool_schemas import AllowedFunctions, NamedFunction, ResponsesFunction
from apiproxy.dialects.openai.translate.ignored import invalid_field
from apiproxy.dialects.openai.translate.tools import Choice, ToolSpec
from apiproxy.dialects.openai.translate.validation import read


def tool_specs(request: ResponsesRequest) -> Iterator[ToolSpec]:
    """Tools of the request."""
    for index, declared in enumerate(request.tools or ()):
        if declared.get("type") != "function":
            raise invalid_field(
                f"tools.{index}.type", "must be 'function': built-in and free-form tools are not supported"
            )
        tool = read(ResponsesFunction, declared, within=f"tools.{index}")
        yield ToolSpec(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            strict=bool(tool.strict),
            field=f"tools.{index}",
        )


def tool_choice(request: ResponsesRequest) -> Choice | None:
    """Tool choice of the request."""
    match request.tool_choice:
        case None:
            return None
        case NamedFunction(name=name):
            return Choice(field="tool_choice", name=name)
        case AllowedFunctions(mode=mode, tools=tools):
            return Choice(field="tool_choice", mode=mode, only=allowed_names(tools, "tool_choice"))
        case mode:
            return Choice(field="tool_choice", mode=mode)
