"""OpenCode through @ai-sdk/anthropic."""

from opencode import main

main("@ai-sdk/anthropic")
