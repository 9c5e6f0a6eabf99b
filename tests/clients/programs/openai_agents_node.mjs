// @openai/agents in its default configuration (Responses). Extras: "chat model", "handoff", "session",
// "MCP server", "web search", "text of an error in the stream".

import { fileURLToPath } from 'node:url';

import { z } from 'zod';

import * as lab from './lab.mjs';

process.env.OPENAI_BASE_URL = lab.OPENAI_URL;
process.env.OPENAI_API_KEY = lab.GATEWAY_KEY;
process.env.OPENAI_AGENTS_DISABLE_TRACING = '1'; // traces go to OpenAI

const agents = await import('@openai/agents');
const { Agent, MCPServerStdio, MemorySession, OpenAIProvider, run, Runner, tool, webSearchTool } = agents;

const weather = tool({
  name: 'weather',
  description: 'Weather of a city.',
  parameters: z.object({ city: z.string() }),
  execute: async (input) => lab.weather(input),
});
const agent = (more) => new Agent({ name: 'Lab', instructions: 'Be brief.', model: lab.MODEL, ...more });
const { prompt, step } = lab.loop(19);
const stepTool = tool({
  name: 'step',
  description: 'A step.',
  parameters: z.object({ n: z.int() }),
  execute: async (input) => step(input),
});
const brokenOff = async () => {
  const stream = await run(agent(), lab.FAILS.midStream, { stream: true });
  return lab.failure(stream.completed.then(() => stream.finalOutput));
};

await lab.main({
  async plain() {
    const result = await run(agent(), '[[say=good day]]');
    lab.check(result.finalOutput === 'good day', result.finalOutput);
  },

  async streaming() {
    const stream = await run(agent(), '[[n=5]]', { stream: true });
    const deltas = [];
    for await (const delta of stream.toTextStream()) deltas.push(delta);
    lab.check(deltas.length === 5 && stream.finalOutput === deltas.join(''), deltas);
  },

  async 'tool loop'() {
    const result = await run(agent({ tools: [weather] }), lab.TWO_CALLS);
    lab.check(lab.hasBothResults(result.finalOutput), result.finalOutput);
  },

  async 'structured output'() {
    const outputType = z.object({ city: z.string(), population: z.int() });
    const result = await run(agent({ outputType }), lab.SAY_CITY);
    lab.check(lab.isCity(result.finalOutput), result.finalOutput);
  },

  async 'image and PDF'() {
    const word = lab.nonce();
    const content = [
      { type: 'input_text', text: `[[n=2]] ${word}` },
      { type: 'input_image', image: `data:image/png;base64,${lab.PNG}` },
      { type: 'input_file', file: `data:application/pdf;base64,${lab.PDF}`, filename: 'page.pdf' },
    ];
    await run(agent(), [{ role: 'user', content }]);
    await lab.checkAttachments(word);
  },

  async errors() {
    // The package offers no option for its client's retries, which wait for retry-after.
    const limited = await lab.failure(run(agent(), lab.FAILS[429].replace('=7', '=0')));
    lab.check(limited.status === 429 && limited.message.includes('not so fast'), limited.message);
    const tooMany = await lab.failure(run(agent(), lab.FAILS[529]));
    lab.check(tooMany.status === 503, `${tooMany.status} ${tooMany.message}`);
    const broken = await brokenOff();
    lab.check(broken.message.includes('response.failed'), broken.message);
  },

  async 'text of an error in the stream'() {
    const broken = await brokenOff();
    lab.check(broken.message.includes('broken off'), broken.message);
  },

  async cancel() {
    const word = lab.nonce();
    const gone = new AbortController();
    const stream = await run(agent(), `${lab.SLOW} ${word}`, { stream: true, signal: gone.signal });
    let seen = 0;
    try {
      for await (const _ of stream.toTextStream()) if ((seen += 1) === 5) gone.abort();
    } catch (error) {
      lab.check(/abort/i.test(`${error.name} ${error.message}`), error.message);
    }
    await lab.checkStopped(word);
    lab.check((await run(agent(), '[[say=next]]')).finalOutput === 'next', 'no next answer');
  },

  async 'second user turn'() {
    const word = lab.nonce();
    const first = await run(agent(), `[[say=first answer]] ${word}`);
    const input = [...first.history, { role: 'user', content: '[[say=second answer]]' }];
    const second = await run(agent(), input);
    lab.check(second.finalOutput === 'second answer', second.finalOutput);
    await lab.checkHistory(word, 'first answer');
  },

  async '20-turn loop'() {
    const result = await run(agent({ tools: [stepTool] }), prompt, { maxTurns: 30 });
    lab.check(result.finalOutput.includes('all 19 steps are done') && result.rawResponses.length === 20, result.finalOutput);
  },

  async 'chat model'() {
    const modelProvider = new OpenAIProvider({ useResponses: false });
    const runner = new Runner({ modelProvider, tracingDisabled: true });
    const result = await runner.run(agent({ tools: [weather] }), lab.TWO_CALLS);
    lab.check(lab.hasBothResults(result.finalOutput), result.finalOutput);
  },

  async handoff() {
    const word = lab.nonce();
    const expert = agent({ name: 'Expert', handoffDescription: 'Knows more.' });
    const result = await run(agent({ handoffs: [expert] }), `[[tool=transfer_to_Expert:{}]] ${word}`);
    lab.check(result.lastAgent.name === 'Expert', result.lastAgent.name);
  },

  async session() {
    const word = lab.nonce();
    const session = new MemorySession();
    await run(agent({ tools: [weather] }), `${lab.TWO_CALLS} ${word}`, { session });
    const second = await run(agent({ tools: [weather] }), '[[say=second answer]]', { session });
    lab.check(second.finalOutput === 'second answer', second.finalOutput);
    await lab.checkHistory(word, ...lab.CITIES.map((city) => lab.weather({ city })));
  },

  async 'MCP server'() {
    const program = fileURLToPath(new URL('mcp_server.mjs', import.meta.url));
    const server = new MCPServerStdio({ name: 'calc', command: process.execPath, args: [program] });
    await server.connect();
    try {
      const result = await run(agent({ mcpServers: [server] }), '[[tool=add:{"a":40,"b":2}]]');
      lab.check(result.finalOutput.includes('42'), result.finalOutput);
    } finally {
      await server.close();
    }
  },

  async 'web search'() {
    const word = lab.nonce();
    const result = await run(agent({ tools: [webSearchTool()] }), `[[say=found]] ${word}`);
    lab.check(result.finalOutput === 'found', result.finalOutput);
    const tools = (await lab.asked(word))?.at(-1).body.tools;
    lab.check(!tools || tools.some((tool) => tool.type?.startsWith('web_search_')), tools);
  },
});
