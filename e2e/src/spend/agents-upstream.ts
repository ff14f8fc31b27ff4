import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Subagents that the model starts at once. */
const AGENTS = 4;
/** About what Claude Code's bodies have for each token. */
const BYTES_PER_TOKEN = 4;
/** What a search finds, in tokens: at the upper end of what was measured. */
const RESULT_TOKENS = 16_000;

export interface AgentsUpstream {
  readonly url: string;
  /** Answers that searched the web, and the most requests that were answered at the same moment. */
  readonly searches: number;
  readonly mostAtOnce: number;
  stop(): Promise<void>;
}

interface Usage {
  readonly input_tokens: number;
  readonly cache_creation_input_tokens: number;
  readonly output_tokens: number;
  readonly server_tool_use?: { readonly web_search_requests: number };
}

interface Asked {
  readonly model: string;
  readonly max_tokens: number;
  readonly messages: readonly { readonly content: unknown }[];
  readonly tools?: readonly { readonly name: string; readonly type?: string; readonly max_uses?: number }[];
}

type Block =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool_use'; readonly name: string; readonly input: object };

/**
 * An upstream that works as models do for Claude Code: it starts subagents at once, each of them searches the web, and
 * everything is billed as such work is.
 *
 * @param outputOf What an answer of somebody has, in tokens, by the user that the request names.
 */
export async function startAgentsUpstream(outputOf: (text: string) => number): Promise<AgentsUpstream> {
  let searches = 0;
  let atOnce = 0;
  let mostAtOnce = 0;
  let ids = 0;

  const answer = async (body: string, agent: boolean, response: ServerResponse): Promise<void> => {
    const asked = JSON.parse(body) as Asked;
    const prompt = Math.ceil(body.length / BYTES_PER_TOKEN);
    const output = Math.min(outputOf(body), asked.max_tokens);
    const uses = asked.tools?.find(({ type }) => type?.startsWith('web_search_') === true)?.max_uses;
    if (uses !== undefined) {
      const found = Math.min(uses, 2);
      searches += found;
      // Each round reads the prompt and the results so far.
      const read = prompt * (found + 1) + (RESULT_TOKENS * found * (found + 1)) / 2;
      const usage = {
        input_tokens: 10,
        cache_creation_input_tokens: read,
        output_tokens: Math.min(900, asked.max_tokens),
        server_tool_use: { web_search_requests: found },
      };
      await sleep(600);
      stream(response, asked.model, [{ type: 'text', text: 'It rains.' }], usage);
      return;
    }
    const usage = { input_tokens: 10, cache_creation_input_tokens: prompt, output_tokens: output };
    await sleep(300 + Math.random() * 300);
    stream(response, asked.model, blocksOf(asked, agent), usage);
  };

  const stream = (response: ServerResponse, model: string, blocks: readonly Block[], usage: Usage): void => {
    const write = (event: { type: string; [member: string]: unknown }): void => {
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    };
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const { input_tokens, cache_creation_input_tokens } = usage;
    write({
      type: 'message_start',
      message: {
        ...{ id: `msg_${++ids}`, type: 'message', role: 'assistant', model, content: [], stop_reason: null },
        usage: { input_tokens, cache_creation_input_tokens, output_tokens: 1 },
      },
    });
    for (const [index, block] of blocks.entries()) {
      const isText = block.type === 'text';
      const content_block = isText
        ? { type: 'text', text: '' }
        : { type: 'tool_use', id: `toolu_${++ids}`, name: block.name, input: {} };
      write({ type: 'content_block_start', index, content_block });
      const delta = isText
        ? { type: 'text_delta', text: block.text }
        : { type: 'input_json_delta', partial_json: JSON.stringify(block.input) };
      write({ type: 'content_block_delta', index, delta });
      write({ type: 'content_block_stop', index });
    }
    const stop_reason = blocks.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn';
    write({ type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage });
    write({ type: 'message_stop' });
    response.end();
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      if (request.url?.startsWith('/v1/messages/count_tokens') === true) {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ input_tokens: Math.ceil(body.length / BYTES_PER_TOKEN) }));
        return;
      }
      mostAtOnce = Math.max(mostAtOnce, ++atOnce);
      response.once('close', () => atOnce--);
      void answer(body, request.headers['x-claude-code-agent-id'] !== undefined, response);
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get searches() {
      return searches;
    },
    get mostAtOnce() {
      return mostAtOnce;
    },
    async stop() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** What the model wants next: agents, each of which looks for the tool and searches the web; and then it is done. */
function blocksOf(asked: Asked, agent: boolean): readonly Block[] {
  const names = new Set(asked.tools?.map(({ name }) => name));
  const results = JSON.stringify(asked.messages).split('"tool_result"').length - 1;
  const search: Block = { type: 'tool_use', name: 'WebSearch', input: { query: 'weather in Berlin' } };
  if (agent) {
    if (results === 0 && !names.has('WebSearch')) {
      return [{ type: 'tool_use', name: 'ToolSearch', input: { query: 'select:WebSearch', max_results: 1 } }];
    }
    if (results <= 1) return [search];
  } else if (results === 0 && names.has('Agent')) {
    const agents = Array.from({ length: AGENTS }, (_, i): Block => ({
      type: 'tool_use',
      name: 'Agent',
      input: { description: `search ${i}`, prompt: `search the web ${i}`, subagent_type: 'general-purpose' },
    }));
    return [...agents, search];
  }
  return [{ type: 'text', text: 'Done.' }];
}
