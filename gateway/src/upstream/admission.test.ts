import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { ApiError } from '../http/errors.ts';
import type { AdmissionControl, InferenceCall } from './inference.ts';
import type { ResponseEnd } from './relay.ts';
import { HELLO, post, readAll, TestBed, until } from './testing/harness.ts';
import { createTokenCounter } from './token-count.ts';

const bed = new TestBed();
afterAll(() => bed.close());
const opened: (() => void)[] = [];
afterEach(() => {
  for (const open of opened.splice(0)) open();
});

const STREAM = { 'content-type': 'text/event-stream' };

/** Admits everything, by default at once, and notes what it is told. */
function watch(
  admit: (call: InferenceCall) => Partial<{ body: Buffer; wait: Promise<unknown> }> = () => ({}),
) {
  const told: unknown[] = [];
  const ends: ResponseEnd[] = [];
  const admission: AdmissionControl = {
    admit(call) {
      const { body, wait } = admit(call);
      const answer = {
        ...(body === undefined ? {} : { body }),
        observer: {
          onResponseStart: (status: number, _headers: unknown, upstream: string) => {
            told.push(status, upstream);
            return { 'anthropic-ratelimit-unified-status': 'allowed' };
          },
          onResponseBytes: (chunk: Buffer) => void told.push(chunk.toString()),
          onResponseEnd: (end: ResponseEnd) => void ends.push(end),
        },
      };
      return wait === undefined ? answer : wait.then(() => answer);
    },
  };
  return { admission, told, ends };
}

describe('admission', () => {
  it('sees the response pass, adds headers to it and learns how it ended', async () => {
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, { ...STREAM, 'anthropic-ratelimit-unified-status': 'rejected' });
      response.end('event: a\n\n');
    });
    const { admission, told, ends } = watch();
    const gateway = await bed.gateway([url], { admission });
    const response = await post(gateway);
    await response.text();
    await until(() => ends.length === 1);
    expect(response.headers.get('anthropic-ratelimit-unified-status')).toBe('allowed');
    expect(told).toEqual([200, 'up0', 'event: a\n\n']);
    expect(ends[0]).toMatchObject({ ending: 'complete', reached: 'answered', upstream: 'up0', status: 200 });
  });

  it('knows the whole chain, and sends another body when told to', async () => {
    const bodies: string[] = [];
    const { url } = await bed.serve((request, response) => {
      void readAll(request).then((body) => {
        bodies.push(body.toString());
        response.end('{}');
      });
    });
    const chains: string[][] = [];
    const { admission } = watch(({ candidates }) => {
      chains.push(candidates.map(({ upstream, model }) => `${upstream.name}/${model}`));
      return { body: Buffer.from(JSON.stringify({ max_tokens: 5, model: 'claude-opus-4-8' })) };
    });
    const gateway = await bed.gateway([url, url], { admission });
    expect((await post(gateway)).status).toBe(200);
    expect(chains).toEqual([['up0/claude-opus-4-8', 'up1/claude-opus-4-8']]);
    expect(bodies).toEqual(['{"max_tokens":5,"model":"claude-opus-4-8"}']);
  });

  it('refuses before any upstream sees the request, at once or later', async () => {
    let calls = 0;
    const { url } = await bed.serve((_request, response) => {
      calls++;
      response.end('{}');
    });
    const refusal = new ApiError('billing_error', 'no', { headers: { 'x-should-retry': 'false' } });
    for (const admit of [
      () => {
        throw refusal;
      },
      () => Promise.reject(refusal),
    ]) {
      const gateway = await bed.gateway([url], { admission: { admit } });
      const response = await post(gateway);
      expect(response.status).toBe(429);
      expect(response.headers.get('x-should-retry')).toBe('false');
      expect(await response.json()).toMatchObject({ error: { type: 'billing_error', message: 'no' } });
    }
    expect(calls).toBe(0);
  });

  it('answers 500 when it fails, and tells nobody why', async () => {
    const gateway = await bed.gateway(['http://127.0.0.1:1'], {
      admission: { admit: () => Promise.reject(new Error('secret')) },
    });
    const response = await post(gateway);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
  });

  it('is not asked when tokens are counted', async () => {
    const { url } = await bed.serve((_request, response) => void response.end('{"input_tokens":3}'));
    const gateway = await bed.gateway([url], {
      admission: {
        admit: () => {
          throw new ApiError('billing_error', 'no');
        },
      },
    });
    const response = await fetch(`${gateway.url}/v1/messages/count_tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(HELLO),
    });
    expect(response.status).toBe(200);
  });

  it('is told when the client goes while it waits; no upstream sees the request', async () => {
    let calls = 0;
    const { url } = await bed.serve((_request, response) => {
      calls++;
      response.end('{}');
    });
    let open = (): void => undefined;
    const wait = new Promise<void>((resolve) => (open = resolve));
    let asked = false;
    const { admission, ends } = watch(() => {
      asked = true;
      return { wait };
    });
    const gateway = await bed.gateway([url], { admission });
    const client = new AbortController();
    const answer = send(gateway.url, client.signal);
    await until(() => asked);
    client.abort();
    await answer;
    await until(() => gateway.audit.length === 1);
    expect(ends).toEqual([]);
    open();
    await until(() => ends.length === 1);
    expect(ends[0]).toMatchObject({ ending: 'client_gone', reached: 'nowhere', status: 499 });
    expect(calls).toBe(0);
  });

  it('is told how far a request came', async () => {
    const { url } = await bed.serve((request, response) => {
      void readAll(request).then((body) => {
        const { status } = JSON.parse(body.toString()) as { status: number };
        if (status === 0) return;
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(
          '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}',
        );
      });
    });
    const { admission, ends } = watch();
    const gateway = await bed.gateway([url], { admission });
    await (await post(gateway, { ...HELLO, status: 400 })).text();
    await (await post(gateway, { ...HELLO, status: 500 })).text();
    await until(() => ends.length === 2);
    expect(ends[0]).toMatchObject({ reached: 'declined', upstream: 'up0', status: 400, ending: 'refused' });
    expect(ends[1]).toMatchObject({ reached: 'nowhere', upstream: null, status: 502, ending: 'refused' });

    const client = new AbortController();
    const answer = send(gateway.url, client.signal, { ...HELLO, status: 0 });
    await until(() => gateway.inference.inFlight === 1);
    setTimeout(() => client.abort(), 100);
    await answer;
    await until(() => ends.length === 3);
    expect(ends[2]).toMatchObject({
      reached: 'unanswered',
      upstream: 'up0',
      status: 499,
      ending: 'client_gone',
    });
  });
});

describe('the token counter', () => {
  const counting = async (answer: (body: Record<string, unknown>) => [number, string]) => {
    const { url } = await bed.serve((request, response) => {
      void readAll(request).then((body) => {
        if (request.url?.startsWith('/v1/messages/count_tokens') !== true) {
          response.end('{}');
          return;
        }
        const [status, text] = answer({
          ...(JSON.parse(body.toString()) as object),
          key: request.headers['x-api-key'],
        });
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(text);
      });
    });
    const counts: (number | undefined)[] = [];
    const counter = createTokenCounter(bed.agent(), 300);
    const { admission } = watch((call) => ({ wait: counter(call).then((count) => counts.push(count)) }));
    const gateway = await bed.gateway([url], { admission });
    return { gateway, counts };
  };

  it('asks with what can be counted, and with the upstream credential', async () => {
    const asked: unknown[] = [];
    const { gateway, counts } = await counting((body) => {
      asked.push(body);
      return [200, '{"input_tokens": 17}'];
    });
    const thinking = { type: 'enabled', budget_tokens: 5 };
    await post(gateway, { ...HELLO, stream: true, system: 'be brief', tags: { a: 'b' }, thinking });
    // Every byte that the upstream does not take to be counted is a token more.
    const uncounted = { max_tokens: HELLO.max_tokens, stream: true, tags: { a: 'b' } };
    expect(counts).toEqual([17 + JSON.stringify(uncounted).length - 1]);
    expect(asked).toEqual([
      { model: HELLO.model, system: 'be brief', messages: HELLO.messages, thinking, key: 'key' },
    ]);
  });

  it('leaves nothing out that is billed', async () => {
    const members = {
      model: HELLO.model,
      system: [{ type: 'text', text: 'be brief' }],
      messages: HELLO.messages,
      tools: [{ name: 'x', input_schema: {} }],
      tool_choice: { type: 'auto' },
      thinking: { type: 'adaptive' },
      cache_control: { type: 'ephemeral' },
      compaction: null,
      context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
      mcp_servers: [{ type: 'url', url: 'https://x', name: 'x' }],
      output_config: { format: { type: 'json_schema', schema: { description: 'much to read' } } },
      output_format: null,
    };
    let asked: unknown;
    const { gateway, counts } = await counting((body) => {
      asked = body;
      // What is left out now may not be by the time of the request.
      return [200, '{"input_tokens": 17, "context_management": {"original_input_tokens": 30}}'];
    });
    await post(gateway, { ...members, new_feature: { text: 'x'.repeat(1000) } });
    expect(asked).toEqual({ ...members, key: 'key' });
    // Nobody says whether schemas are part of the count.
    const schemas = JSON.stringify(members.output_config).length;
    expect(counts[0]).toBeGreaterThan(30 + 1000 + schemas);
    expect(counts[0]).toBeLessThan(30 + 1050 + schemas);
  });

  it.each([
    [
      'no number of what there was',
      200,
      '{"input_tokens": 1, "context_management": {"original_input_tokens": "9"}}',
    ],
    ['an error', 501, '{"input_tokens": 1}'],
    ['no number', 200, '{"input_tokens": "1"}'],
    ['a negative number', 200, '{"input_tokens": -1}'],
    ['no JSON', 200, '<html>'],
  ])('has no count when the upstream answers with %s', async (_name, status, text) => {
    const { gateway, counts } = await counting(() => [status, text]);
    expect((await post(gateway)).status).toBe(200);
    expect(counts).toEqual([undefined]);
  });

  it('does not wait for ever', async () => {
    const { url } = await bed.serve((request, response) => {
      if (request.url?.includes('count_tokens') !== true) response.end('{}');
    });
    const counts: unknown[] = [];
    const counter = createTokenCounter(bed.agent(), 50);
    const { admission } = watch((call) => ({ wait: counter(call).then((count) => counts.push(count)) }));
    const gateway = await bed.gateway([url], { admission });
    expect((await post(gateway)).status).toBe(200);
    expect(counts).toEqual([undefined]);
  });
});

/** A request that may be given up. */
async function send(url: string, signal: AbortSignal, body: object = HELLO): Promise<void> {
  await fetch(`${url}/v1/messages`, {
    method: 'POST',
    signal,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }).catch(() => undefined);
}
