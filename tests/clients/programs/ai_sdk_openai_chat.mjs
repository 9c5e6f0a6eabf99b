// ai with @ai-sdk/openai's `.chat()`.

import { createOpenAI } from '@ai-sdk/openai';

import * as lab from './lab.mjs';
import { features } from './ai_sdk.mjs';

const openai = createOpenAI({ apiKey: lab.GATEWAY_KEY, baseURL: lab.OPENAI_URL });

await lab.main(features(openai.chat(lab.MODEL), { overloaded: 503, reasoning: null }));
