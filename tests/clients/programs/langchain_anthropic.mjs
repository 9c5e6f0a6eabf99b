// @langchain/anthropic.

import { ChatAnthropic } from '@langchain/anthropic';

import * as lab from './lab.mjs';
import { features } from './langchain.mjs';

const make = (more) =>
  new ChatAnthropic({ model: lab.MODEL, apiKey: lab.GATEWAY_KEY, anthropicApiUrl: lab.GATEWAY_URL, ...more });
const source = (media_type, data) => ({ type: 'base64', media_type, data });

await lab.main(
  features([make], {
    overloaded: 529,
    blocks: [
      { type: 'image', source: source('image/png', lab.PNG) },
      { type: 'document', source: source('application/pdf', lab.PDF) },
    ],
  }),
);
