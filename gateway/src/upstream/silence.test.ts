import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { HELLO, post, TestBed, until } from './testing/harness.ts';
import { isSignOfLife } from './silence.ts';
import type { ResponseEnd } from './relay.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const STREAM = { ...HELLO, stream: true };
const SSE = { 'content-type': 'text/event-stream' };
const START = 'event: message_start\ndata: {"type":"message_start"}\n\n';
const DELTA = 'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n';
const PING = 'event: ping\ndata: {"type": "ping"}\n\n';

/** An upstream that begins an answer and goes on every few milliseconds, or not at all. */
async function upstream(
  begin: string,
  more: string | undefined,
  headers: Record<string, string> = SSE,
): Promise<{ url: string; closed: () => boolean }> {
  let closed = false;
  const { url } = await bed.serve((_request, response: ServerResponse) => {
    response.writeHead(200, headers);
    response.write(begin);
    const timer = setInterval(() => {
      if (more !== undefined) response.write(more);
    }, 5);
    response.on('close', () => {
      clearInterval(timer);
      closed = true;
    });
  });
  return { url, closed: () => closed };
}

const LIMITS = {
  pingAfterMs: 50,
  timeouts: { upstream_ttfb_ms: 60_000, upstream_idle_ms: 300, upstream_pings_only_ms: 600 },
};

describe('an upstream that goes silent in mid-answer', () => {
  it.each([
    ['sends nothing', undefined, 'upstream_idle_ms'],
    ['sends pings', PING, 'upstream_pings_only_ms'],
    ['sends comments', ': still here\n\n', 'upstream_pings_only_ms'],
  ])('is given up when it %s, and the client is told', async (_name, more, key) => {
    const ends: ResponseEnd[] = [];
    const admission = {
      admit: () => ({ observer: { onResponseEnd: (end: ResponseEnd) => void ends.push(end) } }),
    };
    const { url, closed } = await upstream(START + DELTA, more);
    const gateway = await bed.gateway([url], { ...LIMITS, admission });
    const text = await (await post(gateway, STREAM)).text();
    expect(text.startsWith(START + DELTA)).toBe(true);
    const last = text.trimEnd().split('\n\n').at(-1) ?? '';
    expect(last.startsWith('event: error\ndata: ')).toBe(true);
    expect(JSON.parse(last.slice(last.indexOf('{')))).toEqual({
      type: 'error',
      error: { type: 'api_error', message: 'The model provider stopped in mid-answer.' },
    });
    await until(() => closed() && ends.length === 1);
    expect(ends).toMatchObject([{ ending: 'upstream_cut', reached: 'answered', upstream: 'up0' }]);
    expect(gateway.log).toContainEqual(
      expect.objectContaining({
        msg: 'upstream broke off in mid-response',
        error: expect.stringContaining(`timeouts.${key}`),
      }),
    );
  });

  it('within an event, or in a document, breaks off the connection', async () => {
    for (const headers of [SSE, { 'content-type': 'application/json' }]) {
      const { url, closed } = await upstream('{"type": "mess', undefined, headers);
      const gateway = await bed.gateway([url], LIMITS);
      const response = await post(gateway, STREAM);
      await expect(response.text()).rejects.toThrow();
      await until(closed);
    }
  });

  it('before it has said anything leaves the answer to the next one', async () => {
    const silent = await bed.serve((_request, response) => {
      response.writeHead(200, SSE).flushHeaders();
    });
    const { url } = await bed.serve((_request, response) => void response.writeHead(200, SSE).end(START));
    const gateway = await bed.gateway([silent.url, url], { ...LIMITS, pingAfterMs: 1_000 });
    const response = await post(gateway, STREAM);
    expect(await response.text()).toBe(START);
  });

  it('is waited for as long as it says something now and then', async () => {
    let sent: ServerResponse | undefined;
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      response.write(START);
      sent = response;
    });
    const gateway = await bed.gateway([url], {
      ...LIMITS,
      timeouts: { upstream_ttfb_ms: 60_000, upstream_idle_ms: 0, upstream_pings_only_ms: 0 },
    });
    const response = await post(gateway, STREAM);
    const timer = setTimeout(() => sent?.end(DELTA), 1_000);
    expect((await response.text()).endsWith(DELTA)).toBe(true);
    clearTimeout(timer);
  });
});

it.each([
  [PING, true],
  [PING.replaceAll('\n', '\r\n'), true],
  ['data: {"type":"ping"}\n\n', true],
  [': keep-alive\n\n', true],
  ['\n', true],
  [PING + PING, true],
  [DELTA, false],
  [PING + DELTA, false],
  ['event: pause\ndata: {}\n\n', false],
  ['data: {"type":"content_block_delta"}\n\n', false],
  ['data: x: "ping"\n\n', false],
  ['', false],
  [`: ${'x'.repeat(300)}\n\n`, false],
])('knows a sign of life: %j is one: %s', (text, expected) => {
  expect(isSignOfLife(Buffer.from(text))).toBe(expected);
});
