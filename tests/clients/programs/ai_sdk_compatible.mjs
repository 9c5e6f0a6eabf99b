// ai with @ai-sdk/openai-compatible.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';

import * as lab from './lab.mjs';
import { features } from './ai_sdk.mjs';

const gateway = createOpenAICompatible({
  name: 'gateway',
  apiKey: lab.GATEWAY_KEY,
  baseURL: lab.OPENAI_URL,
  supportsStructuredOutputs: true,
});

await lab.main(features(gateway(lab.MODEL), { overloaded: 503, streamsUsage: false }));
