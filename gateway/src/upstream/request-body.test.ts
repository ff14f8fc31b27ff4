import { afterEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { ApiError, sendApiError } from '../http/errors.ts';
import type { RequestHandler } from '../http/listener.ts';
import { listen, rawClient, stopListening } from '../http/testing/listening.ts';
import { readBody } from './request-body.ts';

afterEach(stopListening);

const echoWithin =
  (stallMs: number): RequestHandler =>
  (request, response, { id, traffic }) =>
    readBody(request, { maxBytes: 4_000_000, stallMs }, traffic, (result) => {
      if (result instanceof ApiError) sendApiError(response, result, id);
      else response.end(result);
    });
/** A machine that is busy with something else is no sender that stops. */
const echo = echoWithin(30_000);
const impatientEcho = echoWithin(150);

describe('a body', () => {
  it.each([1, 65_536, 65_537, 300_000, 4_000_000])('of %d bytes is what was sent', async (length) => {
    const { url, listener } = await listen(echo);
    const body = randomBytes(length);
    const response = await fetch(url, { method: 'POST', body });
    expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
    while (listener.bufferedBodyBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it('in many small pieces is what was sent', async () => {
    const { port } = await listen(echo);
    const text = Array.from({ length: 300 }, (_, i) => `piece ${i};`).join('');
    const client = await rawClient(
      port,
      `POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${text.length}\r\n\r\n`,
    );
    client.socket.setNoDelay(true);
    for (let i = 0; i < text.length; i += 7) {
      client.socket.write(text.slice(i, i + 7));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.closed).toContain(text);
  });

  it.each([
    ['that stops coming', 'content-length: 10\r\n\r\nabc', '408'],
    ['that is too long', 'content-length: 4000001\r\n\r\nabc', '413'],
    ['that does not say its length', 'transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n', '411'],
    ['that is none', '\r\n', '400'],
  ])('%s is refused, and takes nothing any more', async (_, rest, status) => {
    const { port, listener } = await listen(impatientEcho);
    const client = await rawClient(port, `POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${rest}`);
    expect(await client.closed).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(listener.bufferedBodyBytes).toBe(0);
  });

  it('whose sender goes is given up', async () => {
    const { port, listener } = await listen(echo);
    const client = await rawClient(port, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc');
    while (listener.bufferedBodyBytes < 1000) await new Promise((resolve) => setTimeout(resolve, 5));
    client.socket.destroy();
    while (listener.bufferedBodyBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(listener.inFlight).toBe(0);
  });
});
