"""Coding agents, from npm, and the request shapes of programs that need a server of their own."""

from tests.clients.client import COMMON, Client

_OPENCODE = (*COMMON, "20-turn loop", "MCP tool")

AGENTS: tuple[Client, ...] = (
    Client(
        title="Claude Code",
        packages=("@anthropic-ai/claude-code@2.1.332",),
        program="claude_code.py",
        features=(
            *COMMON,
            "20-turn loop",
            "MCP tool",
            "/compact",
            "subagent",
            "model discovery",
            "bearer token",
        ),
        connect="""
```sh
export ANTHROPIC_BASE_URL=GATEWAY ANTHROPIC_API_KEY=KEY
claude
```

`ANTHROPIC_AUTH_TOKEN=KEY` works as well. `CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1` lists the key's models in
`/model`.
""",
    ),
    Client(
        title="Codex CLI",
        packages=("@openai/codex@0.171.0",),
        program="codex.py",
        features=(
            *COMMON,
            "20-turn loop",
            "MCP tool",
            "apply_patch",
            "compaction",
            "built-in provider",
        ),
        connect="""
In `~/.codex/config.toml`, with the key in the variable `GATEWAY_KEY`:

```toml
model = "claude-sonnet-5-5"
model_provider = "gateway"

[model_providers.gateway]
name = "Gateway"
base_url = "GATEWAY/v1"
env_key = "GATEWAY_KEY"
```

Codex chooses its tools by the model's name: an alias like `gpt-5.5` gives it `apply_patch`. Images work; it attaches no
PDFs.
""",
    ),
    *(
        Client(
            title=f"OpenCode, {package}",
            packages=("opencode-ai@1.18.33",),
            program=f"opencode_{name}.py",
            features=_OPENCODE,
            connect=f"""
In `opencode.json`:

```json
{{
  "model": "gateway/claude-sonnet-5-5",
  "provider": {{
    "gateway": {{
      "npm": "{package}",
      "options": {{"baseURL": "GATEWAY/v1", "apiKey": "KEY"}},
      "models": {{
        "claude-sonnet-5-5": {{
          "attachment": true,
          "modalities": {{"input": ["text", "image", "pdf"], "output": ["text"]}}
        }}
      }}
    }}
  }}
}}
```
""",
        )
        for name, package in (
            ("anthropic", "@ai-sdk/anthropic"),
            ("openai", "@ai-sdk/openai"),
            ("compatible", "@ai-sdk/openai-compatible"),
        )
    ),
    Client(
        title="Cline CLI",
        packages=("cline@3.0.65",),
        program="cline_cli.py",
        features=("plain", "streaming", "tool loop", "structured output", "image and PDF", "errors", "20-turn loop"),
        connect="""
```sh
cline auth -p openai-compatible -b GATEWAY/v1 -k KEY -m claude-sonnet-5-5
```

Its provider of Anthropic takes no base URL.
""",
    ),
    Client(
        title="Continue CLI",
        packages=("@continuedev/cli@1.5.47",),
        program="continue_cli.py",
        features=(
            "plain",
            "streaming",
            "tool loop",
            "structured output",
            "image and PDF",
            "errors",
            "second user turn",
            "20-turn loop",
        ),
        connect="""
In `~/.continue/config.yaml`; `provider: openai` works with the same base URL:

```yaml
name: gateway
version: 1.0.0
schema: v1
models:
  - name: Claude
    provider: anthropic
    model: claude-sonnet-5-5
    apiBase: GATEWAY/v1
    apiKey: KEY
```
""",
    ),
    Client(
        title="Request shapes",
        packages=(),
        program="shapes.py",
        features=("curl", "Open WebUI", "LibreChat", "Home Assistant", "n8n", "Cursor"),
        connect="""
Constructed from the sources and documents of programs that need a server of their own. Wherever one asks for an OpenAI
base URL, it is `GATEWAY/v1`, and its model list then shows the key's models. Cursor sends names that contain `claude-`
elsewhere, so it needs an alias.
""",
    ),
)
