// The `ai` package over one of its providers. Extra: "three user turns" with a tool loop in the second.

import { APICallError, generateText, isStepCount, jsonSchema, Output, streamText, tool } from 'ai';
import { z } from 'zod';

import * as lab from './lab.mjs';

const weather = tool({
  description: 'Weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async (input) => lab.weather(input),
});

/**
 * The features over a model. overloaded: status of an upstream's 529. streamsUsage: false if the client asks for none.
 * reasoning: options with which the client asks for it; null if it cannot.
 */
export function features(model, { overloaded, streamsUsage = true, reasoning = {} }) {
  const ask = (prompt, more) => generateText({ model, prompt, ...more });
  return {
    async plain() {
      const { text, finishReason, usage } = await ask('[[say=good day]]');
      lab.check(text === 'good day' && finishReason === 'stop' && usage.inputTokens > 0 && usage.outputTokens > 0, text);
    },

    async streaming() {
      const result = streamText({ model, prompt: '[[n=5]]' });
      const deltas = [];
      for await (const delta of result.textStream) deltas.push(delta);
      lab.check(deltas.length >= 5 && deltas.join('').startsWith('tok0 tok1 tok2 tok3 tok4'), deltas);
      lab.check(!streamsUsage || (await result.usage).outputTokens > 0, await result.usage);
    },

    async 'tool loop'() {
      const result = await ask(lab.TWO_CALLS, { tools: { weather }, stopWhen: isStepCount(5) });
      lab.check(result.steps.length === 2 && lab.hasBothResults(result.text), result.text);
      const streamed = streamText({ model, prompt: lab.TWO_CALLS, tools: { weather }, stopWhen: isStepCount(5) });
      lab.check(lab.hasBothResults(await streamed.text), await streamed.text);
    },

    async 'structured output'() {
      const output = Output.object({ schema: z.object({ city: z.string(), population: z.int() }) });
      const result = await ask(lab.SAY_CITY, { output });
      lab.check(lab.isCity(result.output), result.text);
      const streamed = streamText({ model, prompt: lab.SAY_CITY, output });
      lab.check(lab.isCity(await streamed.output), 'streamed output');
    },

    async 'image and PDF'() {
      const word = lab.nonce();
      const content = [
        { type: 'text', text: `[[n=2]] ${word}` },
        { type: 'file', data: Buffer.from(lab.PNG, 'base64'), mediaType: 'image/png' },
        { type: 'file', data: Buffer.from(lab.PDF, 'base64'), mediaType: 'application/pdf', filename: 'page.pdf' },
      ];
      await generateText({ model, messages: [{ role: 'user', content }] });
      await lab.checkAttachments(word);
    },

    async errors() {
      const limited = await lab.failure(ask(lab.FAILS[429], { maxRetries: 0 }));
      lab.check(APICallError.isInstance(limited) && limited.statusCode === 429 && limited.isRetryable, limited.message);
      lab.check(limited.message.includes('not so fast'), limited.message);
      const tooMany = await lab.failure(ask(lab.FAILS[529], { maxRetries: 0 }));
      lab.check(tooMany.statusCode === overloaded && tooMany.isRetryable, `${tooMany.statusCode} ${tooMany.message}`);
      const errors = [];
      const onError = ({ error }) => errors.push(error);
      const stream = streamText({ model, prompt: lab.FAILS.midStream, onError, maxRetries: 0 });
      await stream.consumeStream();
      lab.check(errors.length > 0 && JSON.stringify(errors.map(String).concat(errors)).includes('broken off'), errors);
    },

    async 'retry-after'() {
      const { responseHeaders } = await lab.failure(ask(lab.FAILS[429], { maxRetries: 0 }));
      lab.check(responseHeaders['retry-after'] === '7', responseHeaders);
    },

    async cancel() {
      const word = lab.nonce();
      const gone = new AbortController();
      const stream = streamText({ model, prompt: `${lab.SLOW} ${word}`, abortSignal: gone.signal, onError() {} });
      let seen = 0;
      for await (const _ of stream.textStream) if ((seen += 1) === 5) gone.abort();
      await lab.checkStopped(word);
      lab.check((await ask('[[say=next]]')).text === 'next', 'no next answer');
    },

    async 'second user turn'() {
      const word = lab.nonce();
      const messages = [{ role: 'user', content: `[[say=first answer]] ${word}` }];
      messages.push(...(await generateText({ model, messages })).responseMessages);
      messages.push({ role: 'user', content: '[[say=second answer]]' });
      const { text } = await generateText({ model, messages });
      lab.check(text === 'second answer', text);
      await lab.checkHistory(word, 'first answer');
    },

    async 'three user turns'() {
      const word = lab.nonce();
      const messages = [];
      const prompts = [`[[say=first answer]] ${word}`, lab.TWO_CALLS, '[[say=third answer]]'];
      let text;
      for (const content of prompts) {
        messages.push({ role: 'user', content });
        const result = await generateText({ model, messages, tools: { weather }, stopWhen: isStepCount(5) });
        messages.push(...result.responseMessages);
        text = result.text;
      }
      lab.check(text === 'third answer', text);
      await lab.checkHistory(word, 'first answer', ...lab.CITIES.map((city) => lab.weather({ city })));
    },

    async '20-turn loop'() {
      const { prompt, step } = lab.loop(19);
      const inputSchema = jsonSchema(lab.STEP_SCHEMA);
      const tools = { step: tool({ description: 'A step.', inputSchema, execute: async (input) => step(input) }) };
      const result = await ask(prompt, { tools, stopWhen: isStepCount(30) });
      lab.check(result.steps.length === 20 && result.text.includes('all 19 steps are done'), result.text);
    },

    ...(reasoning && {
      async reasoning() {
        const word = lab.nonce();
        const messages = [{ role: 'user', content: `[[think=let me see]][[say=first answer]] ${word}` }];
        const first = await generateText({ model, messages, reasoning: 'medium', ...reasoning });
        lab.check(first.finalStep.reasoningText === 'let me see', first.finalStep.content);
        messages.push(...first.responseMessages, { role: 'user', content: '[[say=second answer]]' });
        const { text } = await generateText({ model, messages, reasoning: 'medium', ...reasoning });
        lab.check(text === 'second answer', text);
        await lab.checkHistory(word, 'first answer');
      },
    }),
  };
}
