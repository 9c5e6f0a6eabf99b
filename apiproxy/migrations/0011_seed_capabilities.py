"""Descriptions and capabilities of seeded models.

Sources: `ModelInfo` of the official client (field names), and the model catalog inside the bundled CLI 2.1.330
(descriptions, efforts, images, PDF, web search). Other values, such as those of thinking and context management, were not
checked against the API's documentation; an administrator can change them. Models for which too little is known keep null,
which the Models API allows: a client then finds out by asking.
"""

from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_DESCRIPTIONS = {
    "claude-fable-5-2": "For your toughest challenges",
    "claude-opus-5-5": "For complex work and everyday tasks",
    "claude-sonnet-5-5": "Most efficient for simpler tasks",
    "claude-haiku-5-5": "Fastest for quick answers",
}

_THINKING = ("adaptive", "between_tools", "disabled", "enabled")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def _is(supported: bool) -> dict[str, bool]:
    return {"supported": supported}


def _capabilities(
    *efforts: str, thinking: tuple[str, ...], compaction: bool, programmatic_tools: bool = True
) -> dict[str, Any]:
    """`ModelCapabilities`. thinking: supported values of `thinking.type`; all of these models accept `disabled` too."""
    return {
        "batch": _is(True),
        "citations": _is(True),
        "code_execution": _is(programmatic_tools),
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": _is(True),
            "clear_tool_uses_20250919": _is(True),
            "compact_20260112": _is(compaction),
        },
        "effort": {"supported": bool(efforts), **{name: _is(name in efforts) for name in _EFFORTS}},
        "image_input": _is(True),
        "pdf_input": _is(True),
        "server_tools": {"supported": True, "code_execution": _is(True), "web_search": _is(True)},
        "structured_outputs": _is(True),
        "thinking": {
            "supported": True,
            "types": {name: _is(name in ("disabled", *thinking)) for name in _THINKING},
        },
    }


_OPUS_4_5 = _capabilities("low", "medium", "high", thinking=("enabled",), compaction=False)
_OF_4_6 = _capabilities("low", "medium", "high", "max", thinking=("adaptive", "enabled"), compaction=True)
_SINCE_4_7 = _capabilities(*_EFFORTS, thinking=("adaptive",), compaction=True)
_CAPABILITIES = {
    "claude-haiku-4-5-20251001": _capabilities(thinking=("enabled",), compaction=False, programmatic_tools=False),
    "claude-sonnet-4-5-20250929": _capabilities(thinking=("enabled",), compaction=False),
    "claude-opus-4-5-20251101": _OPUS_4_5,
    "claude-opus-4-6": _OF_4_6,
    "claude-sonnet-4-6": _OF_4_6,
    "claude-opus-4-7": _SINCE_4_7,
    "claude-opus-4-8": _SINCE_4_7,
    "claude-opus-5": _SINCE_4_7,
    "claude-sonnet-5": _SINCE_4_7,
}


def add_capabilities(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    models = apps.get_model("apiproxy", "Model")._default_manager
    for model_id, description in _DESCRIPTIONS.items():
        models.filter(pk=model_id).update(description=description)
    for model_id, capabilities in _CAPABILITIES.items():
        models.filter(pk=model_id).update(capabilities=capabilities)


class Migration(migrations.Migration):
    dependencies = [("apiproxy", "0010_model_capabilities")]
    operations = [migrations.RunPython(add_capabilities, migrations.RunPython.noop)]
