import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { OPEN_POLICY, originOf, post, readAll, TestBed, until } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const SECRET = 'organization 0f1e2d, key sk-ant-api03';
const OK = JSON.stringify({ type: 'message' });

const TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

function envelope(status: number): string {
  const error = { type: TYPES[status] ?? 'api_error', message: `${SECRET} says ${status}` };
  return JSON.stringify({ type: 'error', error, request_id: 'req_upstream' });
}

function fail(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'request-id': 'req_upstream',
    ...headers,
  });
  response.end(envelope(status));
}

/** An upstream that answers so; counts its requests. */
async function upstream(
  status: number | 'reset',
  headers: Record<string, string> = {},
): Promise<{ url: string; calls: () => number }> {
  let calls = 0;
  const { url } = await bed.serve((request, response) => {
    calls++;
    void readAll(request).then(() => {
      if (status === 'reset') request.socket.destroy();
      else if (status === 200) response.end(OK);
      else fail(response, status, headers);
    });
  });
  return { url, calls: () => calls };
}

async function errorOf(response: Response): Promise<{ type: string; message: string }> {
  const body = (await response.json()) as { type: string; error: { type: string; message: string } };
  expect(body.type).toBe('error');
  return body.error;
}

describe('the next upstream is tried', () => {
  it.each([
    [401],
    [402],
    [403],
    [404],
    [408],
    [424],
    [429],
    [500],
    [501],
    [502],
    [503],
    [529],
    [302],
    ['reset' as const],
  ])('after %s', async (status) => {
    const first = await upstream(status);
    const second = await upstream(200);
    const gateway = await bed.gateway([first.url, second.url]);
    const response = await post(gateway);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(OK);
    expect(first.calls()).toBeGreaterThan(0);
    expect(second.calls()).toBe(1);
    await until(() => gateway.audit.length === 1);
    expect(gateway.audit[0]).toMatchObject({ event: 'inference', upstream: 'up1', status: 200 });
    expect(gateway.log[0]).toMatchObject({ msg: 'upstream failed', upstream: 'up0' });
  });

  it('when nobody listens', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const dead = originOf(server as never);
    await new Promise((resolve) => server.close(resolve));
    const second = await upstream(200);
    const gateway = await bed.gateway([dead, second.url]);
    expect((await post(gateway)).status).toBe(200);
  });

  it('when the first says nothing in time, which is then told that nobody waits', async () => {
    let aborted = false;
    const { url } = await bed.serve((_request, response) => {
      response.on('close', () => (aborted = true));
    });
    const second = await upstream(200);
    const gateway = await bed.gateway([url, second.url], { timeouts: { upstream_ttfb_ms: 100 } });
    expect((await post(gateway)).status).toBe(200);
    await until(() => aborted);
    expect(gateway.log[0]).toMatchObject({
      upstream: 'up0',
      error: 'no response within 100 ms (timeouts.upstream_ttfb_ms)',
    });
  });

  it('when the first starts an error and never ends it, or one without end', async () => {
    const stuck = await bed.serve((_request, response) => {
      response.writeHead(500);
      response.write('x');
    });
    const endless = await bed.serve((_request, response) => {
      response.writeHead(500);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    const last = await upstream(200);
    const gateway = await bed.gateway([stuck.url, endless.url, last.url], {
      timeouts: { upstream_ttfb_ms: 300 },
    });
    expect((await post(gateway)).status).toBe(200);
  });

  it('with the same body, and the model by its name there; who does not serve the model is skipped', async () => {
    const bodies: string[] = [];
    const record = async (status: number): Promise<string> =>
      (
        await bed.serve((request, response) => {
          void readAll(request).then((body) => {
            bodies.push(body.toString());
            response.writeHead(status).end(OK);
          });
        })
      ).url;
    const skipped = await upstream(200);
    const gateway = await bed.gateway([await record(503), skipped.url, await record(200)], {
      policy: {
        ...OPEN_POLICY,
        upstreamModel: (model, name) => ({ up0: `${model}-a`, up2: 'z' })[name],
      },
    });
    const body = '{ "messages" : [1, "ü"],"model":"m" , "tags":{"model":"m"}}';
    expect((await post(gateway, body)).status).toBe(200);
    expect(bodies).toEqual([body.replace('"m"', '"m-a"'), body.replace('"m"', '"z"')]);
    expect(skipped.calls()).toBe(0);
  });
});

describe('what the request itself caused goes back', () => {
  it.each([[400], [405], [409], [413], [422]])('%s, in the upstream’s own words', async (status) => {
    const first = await upstream(status, { 'x-should-retry': 'false' });
    const second = await upstream(200);
    const gateway = await bed.gateway([first.url, second.url]);
    const response = await post(gateway);
    expect(response.status).toBe(status);
    expect(await response.text()).toBe(envelope(status));
    expect(response.headers.get('request-id')).not.toBe('req_upstream');
    expect(response.headers.get('x-should-retry')).toBe('false');
    expect(second.calls()).toBe(0);
    await until(() => gateway.audit.length === 1);
    expect(gateway.audit[0]).toMatchObject({ upstream: 'up0', status, upstream_request_id: 'req_upstream' });
  });

  it('but not the words of something else that stands in between', async () => {
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(400, { 'content-type': 'text/html' }).end(`<h1>${SECRET}</h1>`);
    });
    const response = await post(await bed.gateway([url]));
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error.type).toBe('invalid_request_error');
    expect(error.message).not.toContain(SECRET);
  });
});

describe('when all upstreams failed, the client sees', () => {
  it.each([
    ['overload before everything', [500, 529, 429], 529, 'overloaded_error', null],
    ['a rate limit as one', [500, 429], 429, 'rate_limit_error', null],
    ['a missing model when all say so', [404, 404], 404, 'not_found_error', null],
    ['a missing endpoint when all say so', [501], 501, 'not_supported', 'false'],
    ['502 for the gateway’s own credential', [401], 502, 'api_error', 'false'],
    ['502 for the gateway’s own credential, again', [403, 401], 502, 'api_error', 'false'],
    ['502 for a mixture', [404, 500], 502, 'api_error', null],
    ['502 for a broken connection', ['reset' as const], 502, 'api_error', null],
    ['502 for 500', [500], 502, 'api_error', null],
  ])('%s', async (_name, statuses, status, type, shouldRetry) => {
    const urls: string[] = [];
    for (const each of statuses) urls.push((await upstream(each, { 'retry-after': '7' })).url);
    const gateway = await bed.gateway(urls);
    const response = await post(gateway);
    expect(response.status).toBe(status);
    const error = await errorOf(response);
    expect(error.type).toBe(type);
    expect(response.headers.get('x-should-retry')).toBe(shouldRetry);
    expect(response.headers.get('retry-after')).toBe(status === 429 || status === 529 ? '7' : null);
    if (status !== 404) expect(error.message).not.toContain(SECRET);
    await until(() => gateway.audit.length === 1);
    expect(gateway.log.filter((line) => line.msg === 'upstream failed')).toHaveLength(statuses.length);
  });

  it('502 when none answers in time', async () => {
    const { url } = await bed.serve(() => undefined);
    const gateway = await bed.gateway([url], { timeouts: { upstream_ttfb_ms: 50 } });
    const response = await post(gateway);
    expect(response.status).toBe(502);
    expect(await errorOf(response)).toMatchObject({ type: 'api_error' });
  });
});

describe('an upstream that breaks off before the first byte of its answer', () => {
  /** Sends its headers, waits until they have arrived, and hangs up. */
  const broken = async (headers: Record<string, string>): Promise<{ url: string; calls: () => number }> => {
    let calls = 0;
    const { url } = await bed.serve((request, response) => {
      calls++;
      void readAll(request).then(() => {
        response.writeHead(200, headers);
        response.flushHeaders();
        setTimeout(() => request.socket.destroy(), 50);
      });
    });
    return { url, calls: () => calls };
  };
  const kinds: readonly Record<string, string>[] = [
    { 'content-type': 'application/json' },
    { 'content-type': 'application/json', 'content-length': '5' },
    { 'content-type': 'text/event-stream' },
  ];

  it.each(kinds)('is a 502 in the envelope: %j', async (headers) => {
    const first = await broken(headers);
    const response = await post(await bed.gateway([first.url]));
    expect(response.status).toBe(502);
    expect(await errorOf(response)).toMatchObject({ type: 'api_error' });
    // It has had the request, and may bill it: not once more by itself.
    expect(first.calls()).toBe(1);
  });

  it.each(kinds)('leaves the answer to the next one: %j', async (headers) => {
    const first = await broken(headers);
    const second = await upstream(200);
    const response = await post(await bed.gateway([first.url, second.url]));
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(OK);
    expect(response.headers.get('content-length')).not.toBe('5');
  });
});

it('a request that meets a connection being closed is sent once more, on a fresh one', async () => {
  let calls = 0;
  const { url } = await bed.serve((request, response) => {
    calls++;
    void readAll(request).then(() => {
      if (calls === 2) request.socket.destroy();
      else response.end(OK);
    });
  });
  const gateway = await bed.gateway([url]);
  await (await post(gateway)).text();
  const response = await post(gateway);
  expect(response.status).toBe(200);
  expect(calls).toBe(3);
});
