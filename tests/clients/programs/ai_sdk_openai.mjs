// ai with @ai-sdk/openai, whose default is a Responses model that refers to earlier items by id.

import { createOpenAI } from '@ai-sdk/openai';

import * as lab from './lab.mjs';
import { features } from './ai_sdk.mjs';

const openai = createOpenAI({ apiKey: lab.GATEWAY_KEY, baseURL: lab.OPENAI_URL });

// It takes models whose names it does not know for models that do not reason.
const reasoning = { providerOptions: { openai: { forceReasoning: true } } };

await lab.main(features(openai(lab.MODEL), { overloaded: 503, reasoning }));
