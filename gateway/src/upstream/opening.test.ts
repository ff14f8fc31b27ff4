import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { HELLO, post, readAll, TestBed, until } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const STREAM = { ...HELLO, stream: true };
const SSE = { 'content-type': 'text/event-stream; charset=utf-8' };
const JSON_TYPE = { 'content-type': 'application/json' };
const PING = 'event: ping\ndata: {"type": "ping"}\n\n';
const START = 'event: message_start\ndata: {"type":"message_start"}\n\n';
const GOOD = `${START}event: message_stop\ndata: {"type":"message_stop"}\n\n`;

function errorEvent(type: string, message = 'at host llm-7.internal'): string {
  return `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type, message } })}\n\n`;
}

/** An upstream that answers 200 with these pieces, each in a packet of its own. */
async function upstream(
  pieces: readonly string[],
  headers: Record<string, string> = SSE,
  end: (response: ServerResponse) => void = (response) => response.end(),
): Promise<{ url: string; calls: () => number }> {
  let calls = 0;
  const { url } = await bed.serve((request, response) => {
    calls++;
    void readAll(request).then(async () => {
      response.writeHead(200, headers);
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await sleep(5);
      }
      end(response);
    });
  });
  return { url, calls: () => calls };
}

interface Case {
  readonly name: string;
  readonly pieces: readonly string[];
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly type: string;
}

const CASES: readonly Case[] = [
  { name: 'overload', pieces: [errorEvent('overloaded_error')], status: 529, type: 'overloaded_error' },
  { name: 'an error', pieces: [errorEvent('api_error')], status: 502, type: 'api_error' },
  { name: 'a rate limit', pieces: [errorEvent('rate_limit_error')], status: 429, type: 'rate_limit_error' },
  { name: 'the credential', pieces: [errorEvent('authentication_error')], status: 502, type: 'api_error' },
  {
    name: 'behind pings and comments',
    pieces: [': hi\n\n', PING, errorEvent('overloaded_error')],
    status: 529,
    type: 'overloaded_error',
  },
  {
    name: 'byte by byte, with CRLF',
    pieces: [...errorEvent('overloaded_error').replaceAll('\n', '\r\n')],
    status: 529,
    type: 'overloaded_error',
  },
  {
    name: 'without a name, as proxies send it',
    pieces: ['data: {"error": {"message": "No deployments available", "type": "None", "code": "429"}}\n\n'],
    status: 429,
    type: 'rate_limit_error',
  },
  {
    name: 'without an end',
    pieces: [errorEvent('overloaded_error').trimEnd()],
    status: 529,
    type: 'overloaded_error',
  },
  {
    name: 'in a document',
    pieces: ['{ "type":', ' "error", "error": {"type": "overloaded_error", "message": "x"}}'],
    headers: JSON_TYPE,
    status: 529,
    type: 'overloaded_error',
  },
  { name: 'nothing in a stream', pieces: [], status: 502, type: 'api_error' },
  { name: 'nothing but pings', pieces: [PING, PING], status: 502, type: 'api_error' },
  { name: 'nothing in a document', pieces: [], headers: JSON_TYPE, status: 502, type: 'api_error' },
];

describe('200, and then an error before anything else', () => {
  it.each(CASES)('leaves the answer to the next upstream: $name', async ({ pieces, headers }) => {
    const first = await upstream(pieces, headers);
    const second = await upstream([GOOD]);
    const gateway = await bed.gateway([first.url, second.url]);
    const response = await post(gateway, STREAM);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(GOOD);
    expect([first.calls(), second.calls()]).toEqual([1, 1]);
  });

  it.each(CASES)('is a real status with the last one: $name', async ({ pieces, headers, status, type }) => {
    const { url } = await upstream(pieces, headers);
    const response = await post(await bed.gateway([url]), STREAM);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/json');
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type } });
    expect(text).not.toContain('internal');
  });

  it('which belongs to the request goes back at once, so that the client compacts', async () => {
    const message = 'prompt is too long: 210000 tokens > 200000 maximum';
    const first = await upstream([errorEvent('invalid_request_error', message)]);
    const second = await upstream([GOOD]);
    const response = await post(await bed.gateway([first.url, second.url]), STREAM);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error', message } });
    expect(second.calls()).toBe(0);
  });

  it('costs nothing, and a reset is charged as an answer that was not given', async () => {
    const lost: string[] = [];
    const observer = { onLost: (name: string) => lost.push(name) > 0 };
    const admission = { admit: () => ({ observer }) };
    const second = await upstream([GOOD]);
    const error = await upstream([errorEvent('overloaded_error')]);
    const reset = await upstream([PING], SSE, (response) => setTimeout(() => response.destroy(), 30));
    for (const { url } of [error, reset]) {
      const gateway = await bed.gateway([url, second.url], { admission });
      expect(await (await post(gateway, STREAM)).text()).toBe(GOOD);
    }
    expect(lost).toEqual(['up0']);
  });
});

describe('an answer', () => {
  it.each([
    ['an event of any name', ['event: a\n\n']],
    ['split anywhere', [...START]],
    ['pings first', [PING, START]],
    ['without names', ['data: {"type":"message_start"}\n\n']],
    ['an error later', [START, errorEvent('overloaded_error')]],
    ['no stream of events at all', ['hello']],
    ['a name that begins like an error', ['event: errors\ndata: {}\n\n']],
  ])('goes out as it came: %s', async (_name, pieces) => {
    const { url } = await upstream(pieces);
    const response = await post(await bed.gateway([url]), STREAM);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(pieces.join(''));
    expect(response.headers.get('x-accel-buffering')).toBe('no');
  });

  it.each([
    ['a message', ['{"type":"mess', 'age"}']],
    ['one that has an error as a member', ['{"id":"m","error":null}']],
    ['one whose error is none', ['{"error":null,', '"id":"m"}']],
  ])('in a document goes out as it came: %s', async (_name, pieces) => {
    const { url } = await upstream(pieces, JSON_TYPE);
    const response = await post(await bed.gateway([url]));
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(pieces.join(''));
    expect(response.headers.get('x-accel-buffering')).toBeNull();
  });

  it('of which only pings have come is begun when the client needs a sign of life', async () => {
    let sent: ServerResponse | undefined;
    const { url } = await upstream([PING], SSE, (response) => (sent = response));
    const response = await post(await bed.gateway([url], { pingAfterMs: 50 }), STREAM);
    expect(response.status).toBe(200);
    await until(() => sent !== undefined);
    sent?.end(GOOD);
    const text = await response.text();
    expect(text.startsWith(PING + PING)).toBe(true);
    expect(text.endsWith(GOOD)).toBe(true);
  });
});
