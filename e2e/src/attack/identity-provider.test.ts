import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { freePort } from '@claude-gateway/dev';
import { stringify } from 'yaml';
import { runGateway } from '../harness/gateway-process.ts';
import { startStack, type Stack } from '../harness/stack.ts';

/** An identity provider that means harm, over HTTP: a start fails in one line, in time and in bounded memory. */
let stack: Stack;
let server: Server;
let conduct: RequestListener = () => undefined;
const directory = mkdtempSync(join(tmpdir(), 'provider-'));
beforeAll(async () => {
  stack = await startStack();
  server = createServer((request, response) => conduct(request, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
}, 120_000);
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await stack?.stop();
  rmSync(directory, { recursive: true });
});

const issuer = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const metadata = (changes: object = {}): string =>
  JSON.stringify({
    issuer: issuer(),
    authorization_endpoint: `${issuer()}/authorize`,
    token_endpoint: `${issuer()}/token`,
    jwks_uri: `${issuer()}/keys`,
    ...changes,
  });

async function start(): Promise<{ code: number | null; stderr: string }> {
  const path = join(directory, 'gateway.yaml');
  writeFileSync(
    path,
    stringify({
      ...stack.document(),
      listen: { host: '127.0.0.1', port: await freePort(), public_url: 'http://127.0.0.1:1' },
      oidc: { issuer: issuer(), client_id: 'gw', client_secret: 'secret' },
    }),
  );
  return runGateway(['--config', path]);
}

const pour: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  const more = (): void => {
    while (!response.destroyed && response.write(' '.repeat(64 * 1024)));
  };
  response.on('drain', more);
  more();
};

describe('a start with an identity provider that answers', () => {
  it.each<[string, RequestListener, RegExp]>([
    ['without end', pour, /oidc|identity provider|127\.0\.0\.1/],
    [
      'with little that becomes much',
      (_request, response) =>
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(200_000_000, ' '))),
      /compressed/,
    ],
    [
      'with a way to a metadata service',
      (_request, response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
      /oidc\.issuer|302/,
    ],
    [
      'with keys at a metadata service',
      (_request, response) => response.end(metadata({ jwks_uri: 'http://[64:ff9b::a9fe:a9fe]/keys' })),
      /jwks_uri.*blocked destination/,
    ],
    [
      'for somebody else',
      (_request, response) => response.end(metadata({ issuer: 'https://x.example' })),
      /issuer/,
    ],
    ['with nonsense', (_request, response) => response.end('[[[['.repeat(10_000)), /oidc|127\.0\.0\.1/],
  ])('%s fails, and says why', async (_, answer, reason) => {
    conduct = answer;
    const { code, stderr } = await start();
    expect(code).toBe(1);
    const said = stderr.split('\n').filter((line) => line.startsWith('claude-gateway: '));
    expect(said.join('\n')).toMatch(reason);
    expect(stderr).not.toMatch(/heap|at .*\.ts:\d+/);
  });
});
