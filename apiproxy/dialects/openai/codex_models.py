"""GET /v1/models?client_version=…: the model catalog that Codex reads.

Format: `ModelsResponse` in `codex-rs/protocol/src/openai_models.rs` of Codex, with all fields that its older or newer
versions require. An entry replaces the metadata that Codex falls back to for a model it does not know: context window,
efforts, tools, and instructions, which are our own words here.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse

from apiproxy.catalog import CatalogModel
from apiproxy.core.json_encoding import dumps
from apiproxy.core.principal import Principal
from apiproxy.dialects.openai.translate.capabilities import Thinking, capabilities
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import usable_models

_EFFORTS = {
    "low": "Fast answers with little thinking",
    "medium": "For everyday tasks",
    "high": "For difficult tasks",
    "xhigh": "For the most difficult tasks",
}
"""In ascending order. Older versions reject the whole catalog for a level that they do not know, such as `max`."""
_BUDGET_EFFORTS = ("low", "medium", "high")
"""Of models that take no effort: each is a thinking budget."""
_DEFAULT_EFFORT = "medium"
_OUTPUT_TOKENS = 10_000
"""Of a tool's output, the rest of which Codex leaves out."""
_LISTED = ("active", "deprecated")

INSTRUCTIONS = """\
You are a coding agent in Codex, a program that runs in the user's terminal. You work in the user's repository with the
tools that you are given, and the user sees what you write and which commands you run.

# How you work
- Carry a task through to its end: look at the code, change it, check the change, and only then report. Ask only if you
  cannot go on without an answer.
- Read before you write. Search with `rg`, and open the files that matter. Follow the repository's own style, names and
  instructions (AGENTS.md files apply to the folder that they are in and all below).
- Change what the task needs and nothing else. Fix causes, not symptoms. Do not mend unrelated faults; mention them.
- Edit files with `apply_patch` where you have it.
- Other people and programs may change files while you work: never undo changes that are not yours. Never run
  destructive commands such as `git reset --hard` or `git checkout --`, and do not commit or push without being asked.
- If a command needs permission or network access that you lack, say what it is for and ask for it by the means that
  your tools offer.
- If you have a tool for plans, use it for tasks of several steps, and keep the plan up to date.
- Run the tests or the program where there is a way to, the narrowest ones first. Say plainly what you could not check.

# How you write
- Be brief, friendly and exact. Before a group of commands, say in a sentence what you are about to do.
- At the end say what you changed and why, and name the files with their paths, such as `src/app.py:42`. Do not repeat
  whole files. Suggest next steps only if they follow from the task.
- Use plain text with short Markdown lists; put commands, paths and names in backticks.
"""


async def list_models(principal: Principal) -> HttpResponse:
    """List the models available to the key, newest first, with an ETag."""
    models = await usable_models(principal, gateway().catalog)
    content = dumps({"models": entries([model for model in models if model.lifecycle in _LISTED])})
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return HttpResponse(content, content_type="application/json", headers={"ETag": etag})


def entries(models: Sequence[CatalogModel]) -> list[dict[str, Any]]:
    """Catalog entries of the models, and hidden entries of their aliases for Codex."""
    shown = [_entry(model, model.id, priority) for priority, model in enumerate(models, 1)]
    hidden = [
        _entry(model, alias, len(models) + 1) | {"visibility": "hide"}
        for model in models
        for alias in sorted(model.names - {model.id})
    ]
    return shown + hidden


def _entry(model: CatalogModel, slug: str, priority: int) -> dict[str, Any]:
    capable = capabilities(model.inner_id)
    thinks = capable.thinking is not Thinking.NONE
    efforts = [effort for effort in _EFFORTS if effort in (capable.efforts or _BUDGET_EFFORTS)]
    return {
        "slug": slug,
        "display_name": model.display_name,
        "description": model.description or None,
        "default_reasoning_level": _DEFAULT_EFFORT if thinks else None,
        "supported_reasoning_levels": [
            {"effort": effort, "description": _EFFORTS[effort]} for effort in (efforts if thinks else ())
        ],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "availability_nux": None,
        "upgrade": None,
        "base_instructions": INSTRUCTIONS,
        "model_messages": {"instructions_template": INSTRUCTIONS, "instructions_variables": None},
        "supports_reasoning_summaries": thinks,
        "supports_reasoning_summary_parameter": thinks,
        "default_reasoning_summary": "auto",
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "web_search_tool_type": "text",
        "truncation_policy": {"mode": "tokens", "limit": _OUTPUT_TOKENS},
        "supports_parallel_tool_calls": True,
        "supports_image_detail_original": False,
        "context_window": model.context_window,
        "max_context_window": model.context_window,
        "auto_compact_token_limit": None,
        "effective_context_window_percent": 95,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"],
        "supports_search_tool": False,
    }
