"""Clients from PyPI."""

from tests.clients.client import COMMON, Client

_RETRY_AFTER = "the CLI does not report the upstream's response headers"

PYTHON: tuple[Client, ...] = (
    Client(
        title="anthropic (Python)",
        packages=("anthropic==2.14.0",),
        program="anthropic_python.py",
        requirements="official",
        features=(*COMMON, "12 turns of tool_runner", "count_tokens", "models", "retry-after"),
        reasons={"retry-after (sdk)": _RETRY_AFTER},
        connect="""
```python
import anthropic

client = anthropic.Anthropic(base_url="GATEWAY", api_key="KEY")
```

Or set `ANTHROPIC_BASE_URL` and `ANTHROPIC_API_KEY`.
""",
    ),
    Client(
        title="openai (Python)",
        packages=("openai==3.57.0",),
        program="openai_python.py",
        requirements="official",
        features=(
            *COMMON,
            "item references",
            "forced function",
            "custom tool",
            "web_search",
            "input_tokens and compact",
            "models",
            "retry-after",
        ),
        reasons={"retry-after (sdk)": _RETRY_AFTER},
        connect="""
```python
import openai

client = openai.OpenAI(base_url="GATEWAY/v1", api_key="KEY")
```

Or set `OPENAI_BASE_URL` and `OPENAI_API_KEY`.
""",
    ),
)
