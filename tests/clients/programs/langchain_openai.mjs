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
const page = { type: 'file', source_type: 'base64', mime_type: 'application/pdf', metadata: { filename: 'page.pdf' } };

await lab.main(
  features([make(false), make(true)], {
    overloaded: 503,
    blocks: [
      { type: 'image_url', image_url: { url: `data:image/png;base64,${lab.PNG}` } },
      { ...page, data: lab.PDF },
    ],
  }),
);
