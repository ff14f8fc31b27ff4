import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setContext } from '../http/context.ts';
import { createLog } from '../observe/log.ts';
import { discardExport, isTelemetryPath } from './receiver.ts';

const MAX_BYTES = 6_000_000;
const server = createServer((request, response) => {
  const log = createLog('silent');
  setContext(request, { id: 'req_1', clientAddress: '127.0.0.1', log, startedAt: 0 });
  discardExport(request, response, MAX_BYTES);
});
let url = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

function* pieces(bytes: number): Generator<Uint8Array> {
  for (let left = bytes; left > 0; left -= 100_000) yield new Uint8Array(Math.min(left, 100_000));
}

describe('discardExport', () => {
  it('answers JSON with the empty JSON success', async () => {
    const response = await fetch(`${url}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: '{"resourceMetrics":[]}',
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({});
  });

  it('answers protobuf with the empty message, having read it all', async () => {
    const response = await fetch(`${url}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: new Uint8Array(5_000_000),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/x-protobuf');
    expect((await response.arrayBuffer()).byteLength).toBe(0);
  });

  it.each([
    ['declared', () => new Uint8Array(MAX_BYTES + 1)],
    ['in pieces', () => ReadableStream.from(pieces(MAX_BYTES + 1))],
  ])('refuses what is too long: %s', async (_, body) => {
    const response = await fetch(`${url}/v1/logs`, {
      method: 'POST',
      body: body(),
      duplex: 'half',
    });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({
      error: { type: 'request_too_large', message: expect.stringContaining('limits.max_request_bytes') },
    });
  });
});

it.each([
  ['/v1/metrics', true],
  ['/v1/logs', true],
  ['/v1/traces', true],
  ['/v1/messages', false],
  ['/v1/metrics/', false],
])('isTelemetryPath(%s) is %s', (path, expected) => {
  expect(isTelemetryPath(path)).toBe(expected);
});
