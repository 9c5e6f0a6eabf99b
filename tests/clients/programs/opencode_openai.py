"""OpenCode through @ai-sdk/openai."""

from opencode import main

main("@ai-sdk/openai")
