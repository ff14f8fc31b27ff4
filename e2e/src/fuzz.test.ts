import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { signIn } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

/** `FUZZ_SEED=… npm test -- e2e/src/fuzz` repeats a run. */
const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 6000);
const ANSWER_TIMEOUT_MS = 20_000;

let stack: Stack;
let accessToken = '';
beforeAll(async () => {
  console.log(`fuzz seed ${SEED}`);
  stack = await startStack();
  ({ accessToken } = await signIn(stack.url, 'alice'));
}, 120_000);
afterAll(() => stack.stop());

/** mulberry32: small, seeded, good enough to pick bytes. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const next = random(SEED);
const below = (n: number): number => Math.floor(next() * n);
const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;

const PATHS = [
  '/v1/messages', '/v1/messages?beta=true', '/v1/messages/count_tokens', '/v1/models', '/v1/models/claude-opus-4-8',
  '/managed/settings', '/user/bootstrap', '/v1/metrics', '/oauth/token', '/oauth/revoke', '/oauth/device_authorization',
  '/device', '/device?user_code=%00%ff', '/device/deny', '/oauth/callback', '/oauth/callback?code=x&state=y&code=z', '/oauth/callback?error[]=1',
  '/', '/protocol', '/.well-known/oauth-authorization-server', '/%', '/%2e%2e/%2e%2e/etc/passwd', '//evil.example/', '/v1/messages/../models',
]; // prettier-ignore
const SEEDS = [
  '{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"hi"}]}',
  '{"model":"claude-haiku-4-5","max_tokens":16,"stream":true,"messages":[]}',
  '{"model":7,"max_tokens":"x"}',
  '{"mod\\u0065l":"claude-haiku-4-5","model":null,"tags":{"a":"b"}}',
  '{"model":"claude-haiku-4-5","max_tokens":1e999,"tools":[{"type":"web_search_20250305","max_uses":1e15},{"type":"advisor_20260301","model":"x"}]}',
  '{"model":"claude-haiku-4-5","fallbacks":[{"model":"claude-haiku-4-5","max_tokens":-1}],"inference_geo":"us","thread":{"type":"continue"}}',
  '{"model":"claude-haiku-4-5","messages":[{"content":[{"type":"tool_definition","definition":{"type":"x","model":7}}]}],"mcp_servers":[{}]}',
  '[]', '""', 'null', '{', '', '\uFEFF{}',
  `{"a":${'['.repeat(20_000)}`,
  'grant_type=refresh_token&refresh_token=abc',
  'grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=%00',
  'grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c&subject_token_type=urn:ietf:params:oauth:token-type:jwt',
  'grant_type=a&grant_type=b', 'token=x&token_type_hint=refresh_token', 'user_code=BCDF-GHJK&csrf=x', 'a[b][c]=1&__proto__[x]=1',
]; // prettier-ignore
const TYPES = [
  'application/json',
  'application/x-www-form-urlencoded',
  'application/x-protobuf',
  'text/plain; charset=utf-16',
  'multipart/form-data',
  '\\',
  '',
];

function mutate(text: string): Buffer {
  const bytes = Buffer.from(text);
  for (let i = below(6); i > 0 && bytes.length > 0; i--) bytes[below(bytes.length)] = below(256);
  return below(8) === 0 ? bytes.subarray(0, below(bytes.length + 1)) : bytes;
}

function bearer(): string {
  const [header = '', payload = '', signature = ''] = accessToken.split('.');
  return pick([
    accessToken, accessToken, `${header}.${payload}.`, `${header}.${payload}.${signature.slice(1)}A`, `.${payload}.${signature}`,
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`, 'a.b.c', '', '.'.repeat(100), 'x'.repeat(9000),
    mutate(accessToken).toString('latin1').replaceAll(/[^\x21-\x7e]/g, '-'),
  ]); // prettier-ignore
}

/** Sends bytes that no HTTP library would. @returns the status, or 0 when the server just closed. */
function raw(bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(stack.url);
    const socket = connect(Number(port), hostname);
    let text = '';
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer to ${JSON.stringify(bytes.toString('latin1').slice(0, 300))}`));
    }, ANSWER_TIMEOUT_MS);
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0));
    });
    socket.end(bytes);
  });
}

function request(): Buffer {
  const body = mutate(pick(SEEDS));
  const lines = [
    `${pick(['POST', 'POST', 'POST', 'GET', 'HEAD', 'PUT', 'OPTIONS', 'DELETE'])} ${pick(PATHS)} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: ${pick(['Bearer', 'Bearer', 'bearer', 'Basic', ''])} ${bearer()}`,
    `Content-Type: ${pick(TYPES)}`,
    ...(below(4) === 0 ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${body.length}`]),
    `Anthropic-Beta: ${mutate('claude-code-20250219,x')
      .toString('latin1')
      .replaceAll(/[\r\n\0]/g, '')}`,
    `If-None-Match: ${pick(['*', '""', 'W/"x"', '"sha256:00"', ','])}`,
    `Cookie: ${pick(['a=b', '=', '__Host-x=%zz', ';;;'])}`,
    `Origin: ${pick(['null', stack.url, 'https://evil.example', '://'])}`,
    'Connection: close',
  ];
  const chunked = lines.some((line) => line.startsWith('Transfer'));
  return Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'),
    ...(chunked
      ? [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]
      : [body]),
  ]);
}

function residentBytes(): number {
  const [, pages = '0'] = readFileSync(`/proc/${stack.replicas[0]?.pid}/statm`, 'utf8').split(' ');
  return Number(pages) * 4096;
}

describe('input that nobody would send', () => {
  it('is always answered, never with a 5xx, and the process stays as it was', async () => {
    const statuses = new Map<number, number>();
    const batch = async (count: number): Promise<void> => {
      for (let done = 0; done < count; done += 25) {
        const results = await Promise.all(
          Array.from({ length: 25 }, async () => {
            const bytes = below(10) === 0 ? mutate(request().toString('latin1')) : request();
            return { bytes, status: await raw(bytes) };
          }),
        );
        for (const { bytes, status } of results) {
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          // A transfer coding that is not known is a 501 (RFC 9112 §6.1).
          if (status >= 500 && status !== 501)
            throw new Error(`${status} for ${JSON.stringify(bytes.toString('latin1').slice(0, 1500))}`);
        }
      }
    };
    await batch(ROUNDS / 3);
    const warm = residentBytes();
    await batch((ROUNDS * 2) / 3);
    // Twice the requests of the warm-up must not have grown the process by half: a leak per request would.
    expect(residentBytes()).toBeLessThan(warm * 1.5);
    expect([...statuses.keys()].length).toBeGreaterThan(5);
    expect((await fetch(`${stack.url}/healthz`)).status).toBe(200);
    expect(stack.replicas[0]?.lines.filter((line) => line['level'] === 'error')).toEqual([]);
  }, 240_000);

  it('a body that stalls, a header that never ends and a flood of headers cost one connection each', async () => {
    const token = `Authorization: Bearer ${accessToken}\r\n`;
    const flood = `GET / HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(5000)}\r\n`;
    expect([431, 400]).toContain(await raw(Buffer.from(flood)));
    expect(
      await raw(Buffer.from(`POST /v1/messages HTTP/1.1\r\nHost: x\r\n${token}Content-Length: 100\r\n\r\n{`)),
    ).toBeLessThan(500);
    expect(
      await raw(
        Buffer.from(`POST /v1/messages HTTP/1.1\r\nHost: x\r\n${token}Content-Length: 99999999999\r\n\r\n{`),
      ),
    ).toBe(413);
  });
});
