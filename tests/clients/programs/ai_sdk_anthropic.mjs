// ai with @ai-sdk/anthropic.

import { createAnthropic } from '@ai-sdk/anthropic';

import * as lab from './lab.mjs';
import { features } from './ai_sdk.mjs';

const anthropic = createAnthropic({ apiKey: lab.GATEWAY_KEY, baseURL: lab.OPENAI_URL });

await lab.main(features(anthropic(lab.MODEL), { overloaded: 529 }));
