// openai for Node: Chat Completions and Responses. Extras: "runTools, 12 turns", "models", "custom tool", "reasoning",
// "retry-after".

import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import * as lab from './lab.mjs';

const client = new OpenAI({ apiKey: lab.GATEWAY_KEY, baseURL: lab.OPENAI_URL });
const once = new OpenAI({ apiKey: lab.GATEWAY_KEY, baseURL: lab.OPENAI_URL, maxRetries: 0 });
const { completions } = client.chat;
const { responses } = client;
const City = z.object({ city: z.string(), population: z.int() });

const chat = (content, more) => ({ model: lab.MODEL, messages: [{ role: 'user', content }], ...more });
const respond = (input, more) => ({ model: lab.MODEL, input, ...more });
const text = (completion) => completion.choices[0].message.content;
const definition = { name: 'weather', description: 'Weather of a city.', parameters: lab.WEATHER_SCHEMA };
const chatTool = { type: 'function', function: { ...definition, strict: true } };
const tool = { type: 'function', ...definition, strict: true };

await lab.main({
  async plain() {
    const completion = await completions.create(chat('[[say=good day]]'));
    lab.check(text(completion) === 'good day' && completion.choices[0].finish_reason === 'stop', completion);
    lab.check(completion.usage.prompt_tokens > 0 && completion.usage.completion_tokens > 0, completion.usage);
    const response = await responses.create(respond('[[say=good day]]'));
    lab.check(response.output_text === 'good day' && response.status === 'completed', response);
    lab.check(response.usage.input_tokens > 0 && response.usage.output_tokens > 0, response.usage);
  },

  async streaming() {
    const deltas = [];
    let usage;
    const stream = await completions.create(chat('[[n=5]]', { stream: true, stream_options: { include_usage: true } }));
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) deltas.push(chunk.choices[0].delta.content);
      usage = chunk.usage ?? usage;
    }
    lab.check(deltas.length === 5 && deltas.join('').startsWith('tok0 tok1 ') && usage.total_tokens > 0, deltas);
    const folded = completions.stream(chat('[[n=5]]'));
    lab.check((await folded.finalContent()) === deltas.join(''), 'another text');
    const events = responses.stream(respond('[[n=5]]'));
    const typed = [];
    for await (const event of events) if (event.type === 'response.output_text.delta') typed.push(event.delta);
    lab.check(typed.length === 5 && (await events.finalResponse()).output_text === typed.join(''), typed);
  },

  async 'tool loop'() {
    const asked = chat(lab.TWO_CALLS, { tools: [chatTool] });
    const { message } = (await completions.create(asked)).choices[0];
    lab.check(message.tool_calls?.length === 2, message);
    const results = message.tool_calls.map((call) => ({
      role: 'tool',
      tool_call_id: call.id,
      content: lab.weather(JSON.parse(call.function.arguments)),
    }));
    const last = await completions.create({ ...asked, messages: [...asked.messages, message, ...results] });
    lab.check(lab.hasBothResults(text(last)), last);

    const first = await responses.create(respond(lab.TWO_CALLS, { tools: [tool] }));
    const calls = first.output.filter((item) => item.type === 'function_call');
    lab.check(calls.length === 2, first.output);
    const outputs = calls.map((call) => ({
      type: 'function_call_output',
      call_id: call.call_id,
      output: lab.weather(JSON.parse(call.arguments)),
    }));
    const input = [{ role: 'user', content: lab.TWO_CALLS }, ...first.output, ...outputs];
    const second = await responses.create(respond(input, { tools: [tool] }));
    lab.check(lab.hasBothResults(second.output_text), second.output);
  },

  async 'structured output'() {
    const format = zodResponseFormat(City, 'city');
    const parsed = await completions.parse(chat(lab.SAY_CITY, { response_format: format }));
    lab.check(lab.isCity(parsed.choices[0].message.parsed), parsed);
    const streamed = await completions.stream(chat(lab.SAY_CITY, { response_format: format })).finalChatCompletion();
    lab.check(lab.isCity(streamed.choices[0].message.parsed), streamed);
    const text = { format: zodTextFormat(City, 'city') };
    const response = await responses.parse(respond(lab.SAY_CITY, { text }));
    lab.check(lab.isCity(response.output_parsed), response);
  },

  async 'image and PDF'() {
    const image = `data:image/png;base64,${lab.PNG}`;
    const file = { filename: 'page.pdf', file_data: `data:application/pdf;base64,${lab.PDF}` };
    const first = lab.nonce();
    const parts = [{ type: 'text', text: `[[n=2]] ${first}` }, { type: 'image_url', image_url: { url: image } }];
    await completions.create(chat([...parts, { type: 'file', file }]));
    await lab.checkAttachments(first);
    const second = lab.nonce();
    const content = [
      { type: 'input_text', text: `[[n=2]] ${second}` },
      { type: 'input_image', image_url: image, detail: 'auto' },
      { type: 'input_file', ...file },
    ];
    await responses.create(respond([{ role: 'user', content }]));
    await lab.checkAttachments(second);
  },

  async errors() {
    for (const ask of [
      (prompt, more) => once.chat.completions.create(chat(prompt, more)),
      (prompt, more) => once.responses.create(respond(prompt, more)),
    ]) {
      const limited = await lab.failure(ask(lab.FAILS[429]));
      lab.check(limited instanceof OpenAI.RateLimitError && limited.message.includes('not so fast'), limited.message);
      const overloaded = await lab.failure(ask(lab.FAILS[529]));
      lab.check(overloaded instanceof OpenAI.InternalServerError && overloaded.status === 503, overloaded.message);
      const broken = await lab.failure(readAll(await ask(lab.FAILS.midStream, { stream: true })));
      lab.check(broken.message.includes('broken off'), broken.message);
    }
  },

  async cancel() {
    for (const ask of [
      (prompt, more) => completions.create(chat(prompt, more)),
      (prompt, more) => responses.create(respond(prompt, more)),
    ]) {
      const word = lab.nonce();
      let seen = 0;
      for await (const _ of await ask(`${lab.SLOW} ${word}`, { stream: true })) if ((seen += 1) === 8) break;
      await lab.checkStopped(word);
      await ask('[[say=next]]');
    }
  },

  async 'second user turn'() {
    const word = lab.nonce();
    const asked = chat(`[[say=first answer]] ${word}`);
    const { message } = (await completions.create(asked)).choices[0];
    const more = { role: 'user', content: '[[say=second answer]]' };
    const second = await completions.create({ ...asked, messages: [...asked.messages, message, more] });
    lab.check(text(second) === 'second answer', second);
    await lab.checkHistory(word, 'first answer');

    const other = lab.nonce();
    const question = { role: 'user', content: `[[say=first answer]] ${other}` };
    const first = await responses.create(respond([question]));
    const response = await responses.create(respond([question, ...first.output, more]));
    lab.check(response.output_text === 'second answer', response.output);
    await lab.checkHistory(other, 'first answer');
  },

  async 'runTools, 12 turns'() {
    for (const stream of [false, true]) {
      const { prompt, step } = lab.loop(11);
      const parameters = lab.STEP_SCHEMA;
      const runnable = { name: 'step', description: 'A step.', parameters, function: step, parse: JSON.parse };
      const tools = [{ type: 'function', function: runnable }];
      const runner = completions.runTools(chat(prompt, { tools, stream }), { maxChatCompletions: 20 });
      lab.check((await runner.finalContent()).includes('all 11 steps are done'), 'another end');
      lab.check((await runner.allChatCompletions()).length === 12, 'not 12 turns');
    }
  },

  async 'retry-after'() {
    for (const asking of [
      once.chat.completions.create(chat(lab.FAILS[429])),
      once.responses.create(respond(lab.FAILS[429])),
    ]) {
      const { headers } = await lab.failure(asking);
      lab.check(headers.get('retry-after') === '7', `retry-after: ${headers.get('retry-after')}`);
    }
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    lab.check(ids.includes(lab.MODEL), ids);
    lab.check((await client.models.retrieve(lab.MODEL)).object === 'model', 'no model object');
  },

  async 'custom tool'() {
    const custom = { type: 'custom', name: 'note', description: 'Takes a free text.' };
    const input = '[[tool=note:{"input":"free text"}]]';
    const response = await responses.create(respond(input, { tools: [custom] }));
    const [call] = response.output.filter((item) => item.type === 'custom_tool_call');
    lab.check(call?.name === 'note' && call.input === 'free text', response.output);
    const output = { type: 'custom_tool_call_output', call_id: call.call_id, output: 'noted' };
    const items = [{ role: 'user', content: input }, ...response.output, output];
    lab.check((await responses.create(respond(items, { tools: [custom] }))).output_text.includes('noted'), 'no result');
    const { name, description } = custom;
    const completion = await completions.create(
      chat(input, { tools: [{ type: 'custom', custom: { name, description } }] }),
    );
    const [chatCall] = completion.choices[0].message.tool_calls;
    lab.check(chatCall.type === 'custom' && chatCall.custom.input === 'free text', completion);
  },

  async reasoning() {
    const prompt = '[[think=let me see]][[tool=weather:{"city":"Oslo"}]]';
    const more = { tools: [tool], reasoning: { effort: 'medium', summary: 'auto' } };
    const include = ['reasoning.encrypted_content'];
    const first = await responses.create(respond(prompt, { ...more, include, store: false }));
    const thought = first.output.find((item) => item.type === 'reasoning');
    const call = first.output.find((item) => item.type === 'function_call');
    lab.check(thought?.encrypted_content && call, first.output);
    const word = lab.nonce();
    const result = { type: 'function_call_output', call_id: call.call_id, output: word };
    const input = [{ role: 'user', content: prompt }, ...first.output, result];
    await responses.create(respond(input, { ...more, include, store: false }));
    await lab.checkHistory(word, '"type":"thinking"', 'let me see');
  },
});

async function readAll(stream) {
  const events = [];
  for await (const event of stream) {
    events.push(event);
    if (event.type === 'response.failed' || event.type === 'error') {
      throw new Error(event.response?.error?.message ?? event.message ?? event.error?.message);
    }
  }
  return events;
}
