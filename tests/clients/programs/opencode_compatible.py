"""OpenCode through @ai-sdk/openai-compatible."""

from opencode import main

main("@ai-sdk/openai-compatible")
