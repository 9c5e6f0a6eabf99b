// What the Node clients of the lab share: features as a table of functions, prompts that script the stand-in, checks.

import { setTimeout as sleep } from 'node:timers/promises';

export const { GATEWAY_URL, GATEWAY_KEY, MODEL, UPSTREAM_URL } = process.env;
export const OPENAI_URL = `${GATEWAY_URL}/v1`;

const FEATURE_MS = 120_000;
const SETTLED_MS = 10_000;

/** Reason in the client itself why it lacks a feature. */
export class Skip extends Error {}

/** Run the features named on the command line, all without any; one JSON line for each. */
export async function main(features) {
  const named = process.argv.slice(2);
  for (const feature of named.length ? named : Object.keys(features)) {
    console.log(JSON.stringify({ feature, ...(await outcome(features[feature])) }));
  }
  process.exit(0); // a client may keep sockets or timers
}

async function outcome(run) {
  if (!run) return { ok: false, detail: 'the program has no such feature' };
  const late = AbortSignal.timeout(FEATURE_MS);
  try {
    await Promise.race([run(), new Promise((_, fail) => late.addEventListener('abort', () => fail(late.reason)))]);
    return { ok: true, detail: '' };
  } catch (error) {
    if (error instanceof Skip) return { ok: false, skip: error.message };
    return { ok: false, detail: said(error).slice(0, 1000) };
  }
}

const said = (error) =>
  [`${error?.name ?? 'Error'}: ${error?.message ?? error}`, error?.cause && `cause: ${error.cause}`, error?.where]
    .filter(Boolean)
    .join('; ');

/** Fail with what was found unless it is true. */
export function check(truth, found) {
  if (truth) return;
  const shown = typeof found === 'string' ? found : JSON.stringify(found);
  const error = new Error(`unexpected: ${shown?.slice(0, 600)}`);
  error.where = error.stack.split('\n').find((line) => line.includes('.mjs') && !line.includes('lab.mjs'))?.trim();
  throw error;
}

/** The error that a promise rejects with. */
export async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`no error, but ${JSON.stringify(value)?.slice(0, 300)}`);
}

/** A word that no other prompt has, to find a request at the upstream. */
export const nonce = () => `word-${Math.random().toString(36).slice(2, 10)}`;

export const CITIES = ['Oslo', 'Rome'];
export const TWO_CALLS = CITIES.map((city) => `[[tool=weather:${JSON.stringify({ city })}]]`).join('');
export const weather = ({ city }) => `sunny in ${city}`;
/** True if the stand-in quotes both results. */
export const hasBothResults = (text) => CITIES.every((city) => text.includes(weather({ city })));
export const WEATHER_SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

/** Prompt of a loop of calls, and the tool, whose result asks for the next call. */
export const loop = (calls) => ({
  prompt: '[[tool=step:{"n":1}]]',
  step: ({ n }) => (n < calls ? `[[tool=step:${JSON.stringify({ n: n + 1 })}]]` : `all ${calls} steps are done`),
});
export const STEP_SCHEMA = {
  type: 'object',
  properties: { n: { type: 'integer' } },
  required: ['n'],
  additionalProperties: false,
};

export const CITY = { city: 'Oslo', population: 709000 };
export const SAY_CITY = `[[say=${JSON.stringify(CITY)}]]`;
export const isCity = (value) => value?.city === CITY.city && value?.population === CITY.population;
export const CITY_SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, population: { type: 'integer' } },
  required: ['city', 'population'],
  additionalProperties: false,
};

export const FAILS = {
  429: '[[status=429]][[message=not so fast]][[retry_after=7]]',
  529: '[[status=529]][[message=too many at once]]',
  midStream: '[[n=9]][[miderror=3]][[message=broken off]]',
};
export const SLOW = '[[n=300]][[gap=0.1]]';

export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mM4oaFBEmIY1TCqYfhqAAB8MxgQ+iSj5QAAAABJRU5ErkJggg==';
export const PDF = Buffer.from(
  `%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj
trailer<</Root 1 0 R>>
%%EOF
`,
).toString('base64');

/** The upstream's requests that contain the text, with their parsed bodies. */
export async function asked(containing) {
  const answer = await fetch(`${UPSTREAM_URL}/_recorded?containing=${encodeURIComponent(containing)}`);
  return (await answer.json())
    .filter((exchange) => exchange.path === '/v1/messages')
    .map((exchange) => ({ ...exchange, body: JSON.parse(exchange.raw) }));
}

/** The upstream's blocks of a type in the last request that contains the text, and in its tool results. */
export async function blocksAsked(containing, type) {
  const requests = await asked(containing);
  const parts = (content) => (Array.isArray(content) ? content.flatMap((part) => [part, ...parts(part.content)]) : []);
  const blocks = requests.at(-1)?.body.messages.flatMap((message) => parts(message.content)) ?? [];
  return blocks.filter((block) => block.type === type);
}

/** Check that an image and a PDF arrived. */
export async function checkAttachments(containing, { image = 1, document = 1 } = {}) {
  for (const [type, count] of Object.entries({ image, document })) {
    const found = await blocksAsked(containing, type);
    check(found.length === count, `${found.length} blocks of type ${type} upstream`);
  }
}

/** Check that the earlier turns are in the last request that contains the text. */
export async function checkHistory(containing, ...texts) {
  const requests = await asked(containing);
  const history = JSON.stringify(requests.at(-1)?.body.messages ?? []);
  for (const text of texts) check(history.includes(text), `no ${text} in ${history}`);
}

/** Check that the upstream's requests with the text end soon after the client has gone. */
export async function checkStopped(containing) {
  for (let waited = 0; waited < SETTLED_MS; waited += 100) {
    const requests = await asked(containing);
    if (requests.length && requests.every((request) => request.closed_by_client)) return;
    await sleep(100);
  }
  throw new Error('the upstream still answers after the client has gone');
}
