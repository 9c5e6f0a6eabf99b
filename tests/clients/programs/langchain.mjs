// LangChain's chat models. Extra: "20-turn loop" of LangGraph's prebuilt agent.

import { AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { createAgent } from 'langchain';
import { z } from 'zod';

import * as lab from './lab.mjs';

const weather = tool(async (input) => lab.weather(input), {
  name: 'weather',
  description: 'Weather of a city.',
  schema: z.object({ city: z.string() }),
});
const text = (message) => message.text ?? message.content;

/** The features over models. make: a chat model with more options. overloaded: status of an upstream's 529. */
export function features(makers, { overloaded, blocks }) {
  const each = (run) => async () => {
    for (const make of makers) await run(make);
  };
  return {
    plain: each(async (make) => {
      const message = await make().invoke('[[say=good day]]');
      lab.check(text(message) === 'good day' && message.usage_metadata.input_tokens > 0, message);
    }),

    streaming: each(async (make) => {
      const deltas = [];
      for await (const chunk of await make().stream('[[n=5]]')) if (text(chunk)) deltas.push(text(chunk));
      lab.check(deltas.length >= 5 && deltas.join('').startsWith('tok0 tok1 tok2 tok3 tok4'), deltas);
    }),

    'tool loop': each(async (make) => {
      const model = make().bindTools([weather]);
      const messages = [new HumanMessage(lab.TWO_CALLS)];
      const first = await model.invoke(messages);
      lab.check(first.tool_calls.length === 2, first);
      const results = await Promise.all(first.tool_calls.map((call) => weather.invoke(call)));
      lab.check(results.every((result) => result instanceof ToolMessage), results);
      const last = await model.invoke([...messages, first, ...results]);
      lab.check(lab.hasBothResults(text(last)), last);
    }),

    'structured output': each(async (make) => {
      const City = z.object({ city: z.string(), population: z.int() });
      lab.check(lab.isCity(await make().withStructuredOutput(City, { method: 'jsonSchema' }).invoke(lab.SAY_CITY)), 'json');
      const model = make().withStructuredOutput(City, { name: 'answer', method: 'functionCalling' });
      // A model that refuses forced tools is given the schema, and answers with the JSON.
      const prompt = `[[tool=answer:${JSON.stringify(lab.CITY)}]]`;
      const answers = await Promise.allSettled([model.invoke(prompt), model.invoke(lab.SAY_CITY)]);
      lab.check(answers.some(({ value }) => lab.isCity(value)), String(answers[0].reason ?? answers[1].reason));
    }),

    'image and PDF': each(async (make) => {
      const word = lab.nonce();
      const content = [{ type: 'text', text: `[[n=2]] ${word}` }, ...blocks];
      await make().invoke([new HumanMessage({ content })]);
      await lab.checkAttachments(word);
    }),

    errors: each(async (make) => {
      const limited = await lab.failure(make({ maxRetries: 0 }).invoke(lab.FAILS[429]));
      lab.check(limited.status === 429 && limited.message.includes('not so fast'), limited.message);
      const tooMany = await lab.failure(make({ maxRetries: 0 }).invoke(lab.FAILS[529]));
      lab.check(tooMany.status === overloaded, `${tooMany.status} ${tooMany.message}`);
      const broken = await lab.failure(readAll(make({ maxRetries: 0 }).stream(lab.FAILS.midStream)));
      lab.check(broken.message.includes('broken off'), broken.message);
    }),

    cancel: each(async (make) => {
      const word = lab.nonce();
      const gone = new AbortController();
      let seen = 0;
      try {
        for await (const _ of await make().stream(`${lab.SLOW} ${word}`, { signal: gone.signal })) {
          if ((seen += 1) === 5) gone.abort();
        }
      } catch (error) {
        lab.check(/abort/i.test(`${error.name} ${error.message}`), error.message);
      }
      await lab.checkStopped(word);
      lab.check(text(await make().invoke('[[say=next]]')) === 'next', 'no next answer');
    }),

    'second user turn': each(async (make) => {
      const word = lab.nonce();
      const messages = [new HumanMessage(`[[say=first answer]] ${word}`)];
      const first = await make().invoke(messages);
      lab.check(first instanceof AIMessage, first);
      const second = await make().invoke([...messages, first, new HumanMessage('[[say=second answer]]')]);
      lab.check(text(second) === 'second answer', second);
      await lab.checkHistory(word, 'first answer');
    }),

    '20-turn loop': each(async (make) => {
      const { prompt, step } = lab.loop(19);
      const schema = z.object({ n: z.int() });
      const tools = [tool(async (input) => step(input), { name: 'step', description: 'A step.', schema })];
      const { messages } = await createAgent({ model: make(), tools }).invoke(
        { messages: [new HumanMessage(prompt)] },
        { recursionLimit: 60 },
      );
      lab.check(messages.length === 40 && text(messages.at(-1)).includes('all 19 steps are done'), messages.length);
    }),
  };
}

async function readAll(stream) {
  for await (const _ of await stream);
}
