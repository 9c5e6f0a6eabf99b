"""Libraries from npm."""

from tests.clients.client import COMMON, Client

_RETRY_AFTER = {"retry-after (sdk)": "the CLI does not report the upstream's response headers"}
_AI_FEATURES = (*COMMON, "three user turns", "20-turn loop", "retry-after")

NODE: tuple[Client, ...] = (
    Client(
        title="@anthropic-ai/sdk",
        packages=("@anthropic-ai/sdk@1.14.0",),
        program="anthropic_node.mjs",
        features=(*COMMON, "tool runner, 12 turns", "thinking", "token count", "models", "retry-after"),
        reasons=_RETRY_AFTER,
        connect="""
```js
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: 'GATEWAY', apiKey: 'KEY' });
```

Or set `ANTHROPIC_BASE_URL` and `ANTHROPIC_API_KEY`.
""",
    ),
    Client(
        title="openai (Node)",
        packages=("openai@7.59.0",),
        program="openai_node.mjs",
        features=(*COMMON, "runTools, 12 turns", "custom tool", "reasoning", "models", "retry-after"),
        reasons=_RETRY_AFTER,
        connect="""
```js
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: 'GATEWAY/v1', apiKey: 'KEY' });
```

Or set `OPENAI_BASE_URL` and `OPENAI_API_KEY`.
""",
    ),
    Client(
        title="AI SDK, @ai-sdk/anthropic",
        packages=("@ai-sdk/anthropic@4.0.105", "ai@7.0.173"),
        program="ai_sdk_anthropic.mjs",
        features=(*_AI_FEATURES, "reasoning"),
        reasons=_RETRY_AFTER,
        connect="""
```js
import { createAnthropic } from '@ai-sdk/anthropic';

const anthropic = createAnthropic({ baseURL: 'GATEWAY/v1', apiKey: 'KEY' });
const model = anthropic('claude-sonnet-5-5');
```
""",
    ),
    Client(
        title="AI SDK, @ai-sdk/openai",
        packages=("@ai-sdk/openai@4.0.118", "ai@7.0.173"),
        program="ai_sdk_openai.mjs",
        features=(*_AI_FEATURES, "reasoning"),
        reasons=_RETRY_AFTER,
        in_ci=True,
        connect="""
```js
import { createOpenAI } from '@ai-sdk/openai';

const openai = createOpenAI({ baseURL: 'GATEWAY/v1', apiKey: 'KEY' });
const model = openai('claude-sonnet-5-5'); // Responses, which refers to earlier items by id
```
""",
    ),
    Client(
        title="AI SDK, @ai-sdk/openai `.chat()`",
        packages=("@ai-sdk/openai@4.0.118", "ai@7.0.173"),
        program="ai_sdk_openai_chat.mjs",
        features=_AI_FEATURES,
        reasons=_RETRY_AFTER,
        connect="""
```js
import { createOpenAI } from '@ai-sdk/openai';

const openai = createOpenAI({ baseURL: 'GATEWAY/v1', apiKey: 'KEY' });
const model = openai.chat('claude-sonnet-5-5');
```
""",
    ),
    Client(
        title="AI SDK, @ai-sdk/openai-compatible",
        packages=("@ai-sdk/openai-compatible@3.0.92", "ai@7.0.173"),
        program="ai_sdk_compatible.mjs",
        features=(*_AI_FEATURES, "reasoning"),
        reasons=_RETRY_AFTER,
        connect="""
```js
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';

const gateway = createOpenAICompatible({
  name: 'gateway', baseURL: 'GATEWAY/v1', apiKey: 'KEY', supportsStructuredOutputs: true,
});
const model = gateway('claude-sonnet-5-5');
```
""",
    ),
    Client(
        title="@langchain/anthropic",
        packages=("@langchain/anthropic@1.5.11", "langchain@1.5.14", "@langchain/core@1.4.0"),
        program="langchain_anthropic.mjs",
        features=(*COMMON, "20-turn loop"),
        connect="""
```js
import { ChatAnthropic } from '@langchain/anthropic';

const model = new ChatAnthropic({ model: 'claude-sonnet-5-5', anthropicApiUrl: 'GATEWAY', apiKey: 'KEY' });
```
""",
    ),
    Client(
        title="@langchain/openai",
        packages=("@langchain/openai@1.6.0", "langchain@1.5.14", "@langchain/core@1.4.0"),
        program="langchain_openai.mjs",
        features=(*COMMON, "20-turn loop"),
        connect="""
```js
import { ChatOpenAI } from '@langchain/openai';

const model = new ChatOpenAI({
  model: 'claude-sonnet-5-5', apiKey: 'KEY', configuration: { baseURL: 'GATEWAY/v1' },
});
```

Both `useResponsesApi: true` and `false` work.
""",
    ),
    Client(
        title="@openai/agents",
        packages=("@openai/agents@0.20.0",),
        program="openai_agents_node.mjs",
        features=(
            *COMMON,
            "20-turn loop",
            "chat model",
            "handoff",
            "session",
            "MCP server",
            "web search",
            "text of an error in the stream",
        ),
        reasons={
            "text of an error in the stream": "the client names the event `response.failed`, not the error in it",
        },
        connect="""
```sh
export OPENAI_BASE_URL=GATEWAY/v1 OPENAI_API_KEY=KEY
export OPENAI_AGENTS_DISABLE_TRACING=1  # traces would go to OpenAI
```

```js
const agent = new Agent({ name: 'Assistant', model: 'claude-sonnet-5-5' });
```
""",
    ),
)
