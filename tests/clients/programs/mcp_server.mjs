// MCP server over standard input and output with one tool, `add`, for the agents of the lab.

import { createInterface } from 'node:readline';

const ADD = {
  name: 'add',
  description: 'Add two numbers.',
  inputSchema: {
    type: 'object',
    properties: { a: { type: 'number' }, b: { type: 'number' } },
    required: ['a', 'b'],
  },
  annotations: { readOnlyHint: true, destructiveHint: false, openWorldHint: false },
};

const METHODS = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'calc', version: '1.0.0' },
  }),
  'tools/list': () => ({ tools: [ADD] }),
  'tools/call': ({ arguments: { a, b } }) => ({ content: [{ type: 'text', text: `the sum is ${a + b}` }] }),
  ping: () => ({}),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params = {} } = JSON.parse(line);
  if (id === undefined || method === undefined) continue;
  const outcome = METHODS[method]
    ? { result: METHODS[method](params) }
    : { error: { code: -32601, message: 'Method not found' } };
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, ...outcome })}\n`);
}
