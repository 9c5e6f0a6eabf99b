"""Clients from PyPI."""

from tests.clients.client import COMMON, Client

_RETRY_AFTER = "the CLI does not report the upstream's response headers"
_NO_PDF = tuple(name for name in COMMON if name != "image and PDF")

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
Chat Completions and Responses, with the blocking and the asynchronous client:

```python
import openai

client = openai.OpenAI(base_url="GATEWAY/v1", api_key="KEY")
```

Or set `OPENAI_BASE_URL` (with `/v1`) and `OPENAI_API_KEY`.
""",
    ),
    Client(
        title="claude-agent-sdk",
        packages=("claude-agent-sdk==0.2.189",),
        program="agent_sdk.py",
        requirements="agent_sdk",
        features=(*_NO_PDF, "20 steps"),
        connect="""
```python
options = ClaudeAgentOptions(
    model="sonnet",
    env={"ANTHROPIC_BASE_URL": "GATEWAY", "ANTHROPIC_API_KEY": "KEY"},
)
```
""",
    ),
    Client(
        title="openai-agents",
        packages=("openai-agents==0.24.0",),
        program="openai_agents.py",
        requirements="agents",
        features=(
            *COMMON,
            "20 steps",
            "thinking in a tool loop",
            "handoff",
            "WebSearchTool",
            "conversation by previous_response_id",
        ),
        connect="""
```python
from agents import Agent, OpenAIResponsesModel
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url="GATEWAY/v1", api_key="KEY")
agent = Agent(name="Helper", model=OpenAIResponsesModel(model="claude-sonnet-5-5", openai_client=client))
```

`OpenAIChatCompletionsModel` works as well. For all agents: `set_default_openai_client(client)`. The SDK sends its
traces to OpenAI unless `set_tracing_disabled(True)`.
""",
    ),
    Client(
        title="pydantic-ai",
        packages=("pydantic-ai-slim[anthropic,openai]==2.68.0",),
        program="pydantic_ai_agent.py",
        requirements="agents",
        features=(*COMMON, "20 steps", "forced function", "thinking in a tool loop"),
        connect="""
```python
AnthropicModel("claude-sonnet-5-5", provider=AnthropicProvider(base_url="GATEWAY", api_key="KEY"))
OpenAIChatModel("claude-sonnet-5-5", provider=OpenAIProvider(base_url="GATEWAY/v1", api_key="KEY"))
OpenAIResponsesModel("claude-sonnet-5-5", provider=OpenAIProvider(base_url="GATEWAY/v1", api_key="KEY"))
```
""",
    ),
    Client(
        title="langchain and langgraph (Python)",
        packages=("langchain-anthropic==1.7.10", "langchain-openai==1.7.4", "langgraph==1.2.24"),
        program="langchain_chat.py",
        requirements="langchain",
        features=(*COMMON, "thinking in a tool loop", "langgraph agent, 20 steps"),
        connect="""
```python
ChatAnthropic(model="claude-sonnet-5-5", base_url="GATEWAY", api_key="KEY")
ChatOpenAI(model="claude-sonnet-5-5", base_url="GATEWAY/v1", api_key="KEY")
ChatOpenAI(model="claude-sonnet-5-5", base_url="GATEWAY/v1", api_key="KEY", use_responses_api=True)
```
""",
    ),
    Client(
        title="llama-index",
        packages=(
            "llama-index-core==0.14.25",
            "llama-index-llms-anthropic==0.12.3",
            "llama-index-llms-openai==0.8.3",
            "llama-index-llms-openai-like==0.8.1",
            "anthropic==0.125.0",
        ),
        program="llama_index_llms.py",
        requirements="llama_index",
        features=COMMON,
        connect="""
```python
Anthropic(model="claude-sonnet-5-5", base_url="GATEWAY", api_key="KEY")
OpenAILike(model="claude-sonnet-5-5", api_base="GATEWAY/v1", api_key="KEY", is_chat_model=True,
           is_function_calling_model=True, context_window=200_000)
```

`OpenAI` and `OpenAIResponses` know only OpenAI's names: let the operator make an alias of one
(`CLAUDE_PROXY_MODEL_ALIASES=gpt-4o=claude-sonnet-5-5`) and give `api_base="GATEWAY/v1"`. `llama-index-llms-anthropic`
0.12 needs `anthropic` below 1.
""",
    ),
    Client(
        title="instructor",
        packages=("instructor[anthropic]==1.17.0",),
        program="instructor_modes.py",
        requirements="instructor",
        features=("streaming", "structured output", "errors"),
        in_ci=True,
        connect="""
```python
instructor.from_anthropic(anthropic.Anthropic(base_url="GATEWAY", api_key="KEY"))
instructor.from_openai(openai.OpenAI(base_url="GATEWAY/v1", api_key="KEY"), mode=instructor.Mode.JSON_SCHEMA)
```
""",
    ),
    Client(
        title="litellm",
        packages=("litellm==1.110.2",),
        program="litellm_providers.py",
        requirements="litellm",
        features=(*COMMON, "broken and cancelled stream of openai/responses/", "thinking in a tool loop"),
        connect="""
```python
litellm.completion(model="anthropic/claude-sonnet-5-5", api_base="GATEWAY", api_key="KEY", messages=messages)
litellm.completion(model="openai/claude-sonnet-5-5", api_base="GATEWAY/v1", api_key="KEY", messages=messages)
```

As a proxy, in its `config.yaml`:

```yaml
model_list:
  - model_name: sonnet
    litellm_params:
      model: anthropic/claude-sonnet-5-5
      api_base: GATEWAY
      api_key: KEY
```
""",
    ),
    Client(
        title="dspy",
        packages=("dspy==3.4.1",),
        program="dspy_predict.py",
        requirements="litellm",
        features=("plain", "tool loop", "structured output", "errors"),
        connect="""
```python
dspy.configure(lm=dspy.LM("anthropic/claude-sonnet-5-5", api_base="GATEWAY", api_key="KEY"))
```
""",
    ),
    Client(
        title="smolagents",
        packages=("smolagents[litellm,openai]==1.26.0",),
        program="smolagents_agent.py",
        requirements="litellm",
        features=("plain", "streaming", "tool loop", "structured output", "errors"),
        connect="""
```python
OpenAIModel(model_id="claude-sonnet-5-5", api_base="GATEWAY/v1", api_key="KEY")
LiteLLMModel(model_id="anthropic/claude-sonnet-5-5", api_base="GATEWAY", api_key="KEY", drop_params=True)
```

Without `drop_params`, LiteLLM itself refuses the forced tools of the agents for the newest models.
""",
    ),
    Client(
        title="crewai",
        packages=("crewai[anthropic]==1.15.30",),
        program="crewai_agents.py",
        requirements="crewai",
        features=("plain", "streaming", "tool loop", "structured output", "errors"),
        connect="""
```python
LLM(model="anthropic/claude-sonnet-5-5", base_url="GATEWAY", api_key="KEY")
LLM(model="openai/claude-sonnet-5-5", base_url="GATEWAY/v1", api_key="KEY")
```

The first needs the extra `crewai[anthropic]`.
""",
    ),
    Client(
        title="llm",
        packages=("llm==0.36", "llm-anthropic==0.30"),
        program="llm_command.py",
        requirements="llm",
        features=(*(name for name in COMMON if name != "cancel"),),
        connect="""
With the plugin `llm-anthropic`: `ANTHROPIC_BASE_URL=GATEWAY`, and `llm keys set anthropic` with `KEY`. Without it, in
`extra-openai-models.yaml` of llm's folder:

```yaml
- model_id: gateway
  model_name: claude-sonnet-5-5
  api_base: GATEWAY/v1
  api_key_name: gateway
  supports_tools: true
  supports_schema: true
  vision: true
```

and `llm keys set gateway` with `KEY`; then `llm -m gateway "…"`.
""",
    ),
    Client(
        title="aider",
        packages=("aider-chat==0.86.2",),
        program="aider_edits.py",
        requirements="aider",
        features=("plain", "streaming", "errors", "edit and commit"),
        connect="""
```sh
export ANTHROPIC_API_BASE=GATEWAY ANTHROPIC_API_KEY=KEY
aider --model anthropic/claude-sonnet-5-5
```

or with `OPENAI_API_BASE=GATEWAY/v1`, `OPENAI_API_KEY=KEY` and `--model openai/claude-sonnet-5-5`.
""",
    ),
)
