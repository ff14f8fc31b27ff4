import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mintBearer } from './harness/bearer.ts';
import { startStack, type Stack } from './harness/stack.ts';
import { claudeCodeBinary } from './testbed/claude-code.ts';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes-for-tests';
const MODEL = 'claude-opus-4-8';

/** As LiteLLM answers for a prompt that the API refuses. */
const TOO_LONG = JSON.stringify({
  error: {
    message:
      'litellm.BadRequestError: AnthropicException - prompt is too long: 210000 tokens > 200000 maximum',
    type: null,
    param: null,
    code: '400',
  },
});

function answer(response: ServerResponse, text: string): void {
  const event = (type: string, data: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
  const usage = { input_tokens: 5, output_tokens: 5 };
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: MODEL, content: [], usage };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(
    event('message_start', { message }) +
      event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }) +
      event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }) +
      event('content_block_stop', { index: 0 }) +
      event('message_delta', { delta: { stop_reason: 'end_turn' }, usage }) +
      event('message_stop', {}),
  );
}

/** The real client, untouched, in front of a proxy of the Messages API that words errors in its own way. */
describe('Claude Code, behind a proxy at base_url', () => {
  let stack: Stack;
  let proxy: Server;
  let home: string;
  const bodies: string[] = [];
  let refuseNext = false;

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'claude-home-'));
    proxy = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        bodies.push(body);
        if (refuseNext) {
          refuseNext = false;
          response.writeHead(400, { 'content-type': 'application/json' }).end(TOO_LONG);
        } else {
          answer(response, `answer ${bodies.length}`);
        }
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    // As people write it down, with the path of the API.
    const upstream = {
      provider: 'anthropic',
      base_url: `http://127.0.0.1:${port}/v1/`,
      auth: { api_key: 'k' },
    };
    stack = await startStack({ config: { upstreams: [upstream] } });
  }, 180_000);

  afterAll(async () => {
    await stack?.stop();
    proxy?.closeAllConnections();
    proxy?.close();
    rmSync(home, { recursive: true, force: true });
  }, 60_000);

  /** One turn of one conversation. @returns what the client writes. */
  async function ask(question: string, ...options: string[]): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const client = spawn(claudeCodeBinary(), ['-p', question, '--model', MODEL, ...options], {
      cwd: home,
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        ANTHROPIC_BASE_URL: stack.url,
        ANTHROPIC_AUTH_TOKEN: mintBearer(
          { sub: 'alice', email: 'alice@corp.example' },
          { secret: SECRET, issuer: stack.url, program: 'ours' },
        ),
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let written = '';
    for (const stream of [client.stdout, client.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => (written += chunk));
    }
    client.once('error', reject).once('exit', () => resolve(written));
    return promise;
  }

  it('makes a conversation shorter that the provider finds too long, and goes on', async () => {
    expect(await ask('first question')).toContain('answer');
    expect(await ask('second question', '--continue')).toContain('answer');
    const before = bodies.length;
    refuseNext = true;
    const written = await ask('third question', '--continue');
    expect(written).toContain('answer');
    expect(written).not.toMatch(/API Error|refused|too long/i);
    // Refused, asked for a summary, and asked again.
    const after = bodies.slice(before);
    expect(after.length).toBeGreaterThanOrEqual(3);
    expect(after.some((body) => /summary/i.test(body.slice(-20_000)))).toBe(true);
  }, 180_000);
});
