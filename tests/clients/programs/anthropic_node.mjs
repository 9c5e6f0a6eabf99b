// @anthropic-ai/sdk. Extras: "tool runner, 12 turns", "token count", "models", "thinking", "retry-after".

import Anthropic from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';

import * as lab from './lab.mjs';

const client = new Anthropic({ apiKey: lab.GATEWAY_KEY, baseURL: lab.GATEWAY_URL });
const once = new Anthropic({ apiKey: lab.GATEWAY_KEY, baseURL: lab.GATEWAY_URL, maxRetries: 0 });
const request = (content, more) => ({
  model: lab.MODEL,
  max_tokens: 1000,
  messages: [{ role: 'user', content }],
  ...more,
});
const text = (message) => message.content.map((block) => block.text ?? '').join('');
const weather = { name: 'weather', description: 'Weather of a city.', input_schema: lab.WEATHER_SCHEMA };

await lab.main({
  async plain() {
    const message = await client.messages.create(request('[[say=good day]]'));
    lab.check(text(message) === 'good day' && message.stop_reason === 'end_turn', message);
    lab.check(message.usage.input_tokens > 0 && message.usage.output_tokens > 0, message.usage);
  },

  async streaming() {
    const stream = client.messages.stream(request('[[n=5]]'));
    const deltas = [];
    stream.on('text', (delta) => deltas.push(delta));
    const message = await stream.finalMessage();
    lab.check(deltas.length === 5 && deltas.join('') === text(message), deltas);
  },

  async 'tool loop'() {
    const asked = request(lab.TWO_CALLS, { tools: [weather] });
    const first = await client.messages.create(asked);
    const calls = first.content.filter((block) => block.type === 'tool_use');
    lab.check(first.stop_reason === 'tool_use' && calls.length === 2, first);
    const results = calls.map(({ id, input }) => ({ type: 'tool_result', tool_use_id: id, content: lab.weather(input) }));
    const turns = [{ role: 'assistant', content: first.content }, { role: 'user', content: results }];
    const last = await client.messages.create({ ...asked, messages: [...asked.messages, ...turns] });
    lab.check(lab.hasBothResults(text(last)), last);
  },

  async 'structured output'() {
    const City = z.object({ city: z.string(), population: z.int() });
    const asked = request(lab.SAY_CITY, { output_config: { format: zodOutputFormat(City) } });
    const message = await client.messages.parse(asked);
    lab.check(lab.isCity(message.parsed_output), message);
    const streamed = await client.messages.stream(asked).finalMessage();
    lab.check(lab.isCity(streamed.parsed_output), streamed);
  },

  async 'image and PDF'() {
    const word = lab.nonce();
    const source = (media_type, data) => ({ type: 'base64', media_type, data });
    await client.messages.create(
      request([
        { type: 'image', source: source('image/png', lab.PNG) },
        { type: 'document', source: source('application/pdf', lab.PDF) },
        { type: 'text', text: `[[n=2]] ${word}` },
      ]),
    );
    await lab.checkAttachments(word);
  },

  async errors() {
    const limited = await lab.failure(once.messages.create(request(lab.FAILS[429])));
    lab.check(limited instanceof Anthropic.RateLimitError && limited.message.includes('not so fast'), limited.message);
    const overloaded = await lab.failure(once.messages.create(request(lab.FAILS[529])));
    lab.check(overloaded.status === 529 && overloaded.type === 'overloaded_error', overloaded.message);
    const broken = await lab.failure(once.messages.stream(request(lab.FAILS.midStream)).finalMessage());
    lab.check(broken instanceof Anthropic.APIError && broken.message.includes('broken off'), broken.message);
  },

  async cancel() {
    const word = lab.nonce();
    const stream = client.messages.stream(request(`${lab.SLOW} ${word}`));
    stream.on('text', () => stream.abort());
    lab.check((await lab.failure(stream.finalMessage())) instanceof Anthropic.APIUserAbortError, 'another error');
    await lab.checkStopped(word);
    lab.check(text(await client.messages.create(request('[[say=next]]'))) === 'next', 'no next answer');
  },

  async 'second user turn'() {
    const word = lab.nonce();
    const first = await client.messages.create(request(`[[say=first answer]] ${word}`));
    const messages = [
      { role: 'user', content: `[[say=first answer]] ${word}` },
      { role: 'assistant', content: first.content },
      { role: 'user', content: '[[say=second answer]]' },
    ];
    const second = await client.messages.create({ ...request(''), messages });
    lab.check(text(second) === 'second answer', second);
    await lab.checkHistory(word, 'first answer');
  },

  async 'tool runner, 12 turns'() {
    for (const stream of [false, true]) {
      const { prompt, step } = lab.loop(11);
      const tools = [betaTool({ name: 'step', description: 'A step.', inputSchema: lab.STEP_SCHEMA, run: step })];
      const runner = client.beta.messages.toolRunner({ ...request(prompt), tools, stream });
      let turns = 0;
      let last;
      for await (const answer of runner) {
        last = stream ? await answer.finalMessage() : answer;
        turns += 1;
      }
      lab.check(turns === 12 && text(last).includes('all 11 steps are done'), `${turns} turns; ${JSON.stringify(last)}`);
    }
  },

  async 'retry-after'() {
    const { headers } = await lab.failure(once.messages.create(request(lab.FAILS[429])));
    lab.check(headers.get('retry-after') === '7', `retry-after: ${headers.get('retry-after')}`);
  },

  async 'token count'() {
    const { messages } = request('How many tokens are these?');
    const count = await client.messages.countTokens({ model: lab.MODEL, messages });
    lab.check(count.input_tokens > 0, count);
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
    lab.check(ids.includes(lab.MODEL) && new Set(ids).size === ids.length, ids);
    lab.check((await client.models.retrieve(lab.MODEL)).type === 'model', 'no model object');
  },

  async thinking() {
    const thinking = { type: 'adaptive', display: 'summarized' };
    const asked = request('[[think=let me see]][[tool=weather:{"city":"Oslo"}]]', { tools: [weather], thinking });
    const first = await client.messages.create(asked);
    const [thought, call] = first.content;
    lab.check(thought.type === 'thinking' && thought.signature && call.type === 'tool_use', first.content);
    const word = lab.nonce();
    const result = { type: 'tool_result', tool_use_id: call.id, content: word };
    const turns = [{ role: 'assistant', content: first.content }, { role: 'user', content: [result] }];
    await client.messages.create({ ...asked, messages: [...asked.messages, ...turns] });
    await lab.checkHistory(word, thought.signature);
  },
});
