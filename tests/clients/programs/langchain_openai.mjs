// @langchain/openai, over Chat Completions and over Responses.

import { ChatOpenAI } from '@langchain/openai';

import * as lab from './lab.mjs';
import { features } from './langchain.mjs';

const make = (useResponsesApi) => (more) =>
  new ChatOpenAI({
    model: lab.MODEL,
    apiKey: lab.GATEWAY_KEY,
    configuration: { baseURL: lab.OPENAI_URL },
    useResponsesApi,
    ...more,
  });
const standard = (type, mimeType, data, more) => ({ type, source_type: 'base64', mime_type: mimeType, data, ...more });

await lab.main(
  features([make(false), make(true)], {
    overloaded: 503,
    blocks: [
      standard('image', 'image/png', lab.PNG),
      standard('file', 'application/pdf', lab.PDF, { metadata: { filename: 'page.pdf' } }),
    ],
  }),
);
