import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { discardExport, isTelemetryPath } from './receiver.ts';

const server = createServer(discardExport);
let url = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

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
