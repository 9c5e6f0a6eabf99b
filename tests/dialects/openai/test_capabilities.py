"""A model's capabilities follow from its id, in every provider's notation."""

import pytest

from apiproxy.dialects.openai.translate.capabilities import Sampling, Thinking, capabilities


@pytest.mark.parametrize(
    ("model", "thinking", "sampling", "forced_tools", "structured"),
    [
        ("claude-3-haiku-20240307", Thinking.NONE, Sampling.BOTH, True, False),
        ("claude-3-5-haiku-latest", Thinking.NONE, Sampling.BOTH, True, False),
        ("claude-3-7-sonnet-20250219", Thinking.BUDGET, Sampling.BOTH, True, False),
        ("claude-sonnet-4-20250514", Thinking.BUDGET, Sampling.BOTH, True, False),
        ("claude-opus-4@20250514", Thinking.BUDGET, Sampling.BOTH, True, False),
        ("claude-opus-4-1-20250805", Thinking.BUDGET, Sampling.ONE, True, False),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Thinking.BUDGET, Sampling.ONE, True, True),
        ("claude-haiku-4-5@20251001", Thinking.BUDGET, Sampling.ONE, True, True),
        ("claude-opus-4-6", Thinking.ADAPTIVE, Sampling.ONE, True, True),
        ("claude-sonnet-4.6", Thinking.ADAPTIVE, Sampling.ONE, True, True),
        ("claude-opus-4-7", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("claude-opus-5[1m]", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("claude-sonnet-5-20260101", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("claude-haiku-5-5", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("Claude-Opus-5-5", Thinking.ADAPTIVE, Sampling.NONE, False, True),
        ("claude-sonnet-6", Thinking.ADAPTIVE, Sampling.NONE, False, True),
        ("claude-fable-5", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("claude-fable-5-1", Thinking.ADAPTIVE, Sampling.NONE, False, True),
        ("claude-mythos-preview", Thinking.ADAPTIVE, Sampling.NONE, True, True),
        ("my-deployment", Thinking.ADAPTIVE, Sampling.BOTH, True, True),
        ("claude-unheard-of", Thinking.ADAPTIVE, Sampling.BOTH, True, True),
    ],
)
def test_families_and_versions(
    model: str, thinking: Thinking, sampling: Sampling, forced_tools: bool, structured: bool
) -> None:
    found = capabilities(model)
    assert (found.thinking, found.sampling, found.forced_tools, found.structured_outputs) == (
        thinking,
        sampling,
        forced_tools,
        structured,
    )
