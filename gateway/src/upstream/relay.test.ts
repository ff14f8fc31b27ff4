import { afterEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HELLO, post, readAll, TestBed, until, type TestGateway } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const STREAM = { ...HELLO, stream: true };
const SSE = { 'content-type': 'text/event-stream; charset=utf-8' };

/** Posts and hands out the response as soon as its headers are there. */
async function open(gateway: TestGateway): Promise<{ response: IncomingMessage; abort: () => void }> {
  const body = JSON.stringify(STREAM);
  const request = httpRequest(`${gateway.url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-length': Buffer.byteLength(body) },
  });
  request.on('error', () => undefined);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { response, abort: () => request.destroy() };
}

describe('a streamed response', () => {
  it('arrives byte for byte, whatever the chunks', async () => {
    const payload = randomBytes(700_000);
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      void (async () => {
        for (let at = 0; at < payload.length;) {
          const size = 1 + (payload[at] ?? 0) * 37;
          response.write(payload.subarray(at, at + size));
          at += size;
          if (at % 3 === 0) await sleep(0);
        }
        response.end();
      })();
    });
    const gateway = await bed.gateway([url]);
    const response = await post(gateway, STREAM);
    expect(response.headers.get('content-type')).toBe(SSE['content-type']);
    expect(Buffer.from(await response.arrayBuffer()).equals(payload)).toBe(true);
  });

  it('begins with the first byte of the upstream, and each event arrives before the next is sent', async () => {
    let upstream: ServerResponse | undefined;
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      response.write('event: a\n\n');
      upstream = response;
    });
    const gateway = await bed.gateway([url]);
    const { response } = await open(gateway);
    for (const event of ['event: a\n\n', 'event: b\n\n', 'event: c\n\n']) {
      if (event !== 'event: a\n\n') upstream?.write(event);
      const [chunk] = (await once(response, 'data')) as [Buffer];
      expect(chunk.toString()).toBe(event);
    }
    upstream?.end();
    await once(response, 'end');
  });

  it('is held back while the client does not read, and memory stays flat', async () => {
    const chunk = randomBytes(64 * 1024);
    let sent = 0;
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      void (async () => {
        while (!response.destroyed && sent < 200 * 1024 * 1024) {
          sent += chunk.length;
          if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve));
        }
      })();
    });
    const gateway = await bed.gateway([url]);
    const { response, abort } = await open(gateway);
    response.pause();
    let before = -1;
    while (before !== sent) {
      before = sent;
      await sleep(300);
    }
    // What stands in the kernel's socket buffers and a few of ours; not the 200 MB that there are to send.
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    response.resume();
    await until(() => sent > before + 10 * 1024 * 1024);
    abort();
  });
});

describe('an aborted exchange', () => {
  it('reaches the upstream when the client goes, before and in the response', async () => {
    const arrived: ServerResponse[] = [];
    const closed: ServerResponse[] = [];
    let silent = true;
    const { url } = await bed.serve((_request, response) => {
      arrived.push(response);
      response.on('close', () => closed.push(response));
      if (silent) return;
      response.writeHead(200, SSE);
      response.write('event: a\n\n');
    });
    const gateway = await bed.gateway([url]);
    const before = new AbortController();
    const waiting = fetch(`${gateway.url}/v1/messages`, {
      method: 'POST',
      body: JSON.stringify(STREAM),
      signal: before.signal,
    });
    await until(() => arrived.length === 1);
    expect(gateway.inference.inFlight).toBe(1);
    before.abort();
    await expect(waiting).rejects.toThrow();
    await until(() => closed.length === 1);

    silent = false;
    const { abort } = await open(gateway);
    await until(() => arrived.length === 2);
    abort();
    await until(() => closed.length === 2);
    await until(() => gateway.inference.inFlight === 0);
    expect(gateway.log.filter((line) => line.msg === 'inference')).toMatchObject([
      { status: 499, ending: 'client_gone' },
      { status: 200, ending: 'client_gone' },
    ]);
  });

  it('closes the connection in mid-body when the upstream breaks off, and delivers what came before', async () => {
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      response.write('event: a\n\n');
      setTimeout(() => response.destroy(), 50);
    });
    const gateway = await bed.gateway([url]);
    const { port, hostname } = new URL(gateway.url);
    const socket = connect(Number(port), hostname);
    const body = JSON.stringify(STREAM);
    socket.write(
      `POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
    await once(socket, 'close');
    expect(received).toContain('event: a\n\n');
    // The last chunk of a chunked body (RFC 9112 §7.1) would say that the answer is whole.
    expect(received).not.toContain('\r\n0\r\n\r\n');
    await until(() => gateway.audit.length === 1);
    expect(gateway.log).toContainEqual(expect.objectContaining({ msg: 'inference', ending: 'upstream_cut' }));
    expect(gateway.log).toContainEqual(
      expect.objectContaining({ msg: 'upstream broke off in mid-response' }),
    );
  });
});

describe('pings', () => {
  it('fill silence at event boundaries only', async () => {
    let upstream: ServerResponse | undefined;
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, SSE);
      response.flushHeaders();
      upstream = response;
    });
    const gateway = await bed.gateway([url], { pingAfterMs: 50 });
    const { response } = await open(gateway);
    let received = '';
    response.on('data', (chunk: Buffer) => (received += chunk.toString()));
    const ping = 'event: ping\ndata: {"type": "ping"}\n\n';

    await until(() => received.startsWith(ping));
    upstream?.write('event: message_start\ndata: {}');
    await until(() => received.endsWith('{}'));
    await sleep(300);
    expect(received.endsWith('data: {}')).toBe(true);
    upstream?.write('\n');
    upstream?.write('\n');
    await until(() => received.endsWith(`{}\n\n${ping}`));
    upstream?.write('event: b\r\ndata: {}\r\n\r\n');
    await until(() => received.endsWith(`{}\r\n\r\n${ping}`));
    upstream?.end();
    await once(response, 'end');
  });

  it('are not mixed into anything but a plain event stream', async () => {
    for (const headers of [{ 'content-type': 'application/json' }, { ...SSE, 'content-encoding': 'gzip' }]) {
      const { url } = await bed.serve((_request, response) => {
        response.writeHead(200, headers);
        response.write('x');
        setTimeout(() => response.end('y'), 300);
      });
      const gateway = await bed.gateway([url], { pingAfterMs: 20 });
      const { response } = await open(gateway);
      expect((await readAll(response)).toString()).toBe('xy');
    }
  });
});
