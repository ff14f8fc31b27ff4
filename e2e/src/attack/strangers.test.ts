import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mintBearer } from '../harness/bearer.ts';
import { startStack, type Stack } from '../harness/stack.ts';
import { freePort } from '@claude-gateway/dev';

/** Who claims to be somebody else, from somewhere else, or to have been given something by this gateway. */
const KEY = 'a-key-of-at-least-thirty-two-characters-to-read';
const MAX_CODES = 5;

let stack: Stack;
let metricsUrl = '';
beforeAll(async () => {
  const metricsPort = await freePort();
  metricsUrl = `http://127.0.0.1:${metricsPort}/metrics`;
  stack = await startStack({
    config: {
      metrics: { host: '127.0.0.1', port: metricsPort },
      admin: { read_keys: [{ id: 'reader', key: KEY }] },
      rate_limits: { device_authorization: { max: MAX_CODES, window_seconds: 600 } },
    },
  });
}, 120_000);
afterAll(() => stack?.stop());

describe('an address', () => {
  it('is that of the connection, whatever headers say, where no proxy is trusted', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < MAX_CODES + 3; i++) {
      const answer = await fetch(`${stack.url}/oauth/device_authorization`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'x-forwarded-for': `203.0.113.${i}`,
          'x-real-ip': `203.0.113.${i}`,
          forwarded: `for=203.0.113.${i}`,
        },
        body: 'client_id=claude-code',
      });
      await answer.text();
      statuses.push(answer.status);
    }
    expect(statuses.slice(-3)).toEqual([429, 429, 429]);
  });
});

describe('a bearer token', () => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const decoded = (token: string, index: number): Record<string, unknown> =>
    JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString()) as Record<string, unknown>;
  const genuine = (): string =>
    mintBearer(
      { sub: 'mallory' },
      {
        secret: (stack.document()['session'] as { jwt_secret: string }).jwt_secret,
        issuer: stack.url,
        program: 'ours',
      },
    );
  const status = async (token: string): Promise<number> => {
    const answer = await fetch(`${stack.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } });
    await answer.text();
    return answer.status;
  };

  it('is believed when this gateway has signed it', async () => {
    expect(await status(genuine())).toBe(200);
  });

  it.each<[string, (token: string) => string]>([
    [
      'without a signature',
      (token) => `${part({ ...decoded(token, 0), alg: 'none' })}.${token.split('.')[1]}.`,
    ],
    ['with an empty signature', (token) => `${token.split('.').slice(0, 2).join('.')}.`],
    [
      'with other claims than were signed',
      (token) =>
        [token.split('.')[0], part({ ...decoded(token, 1), sub: 'alice' }), token.split('.')[2]].join('.'),
    ],
    [
      'of another algorithm',
      (token) => [part({ ...decoded(token, 0), alg: 'HS512' }), ...token.split('.').slice(1)].join('.'),
    ],
    [
      'of a key that nobody has',
      (token) =>
        [part({ ...decoded(token, 0), kid: 'ffffffffffffffff' }), ...token.split('.').slice(1)].join('.'),
    ],
    [
      'with a key of its own',
      (token) =>
        [part({ ...decoded(token, 0), jwk: { kty: 'oct', k: 'AA' } }), ...token.split('.').slice(1)].join(
          '.',
        ),
    ],
  ])('is refused %s', async (_, forge) => {
    expect(await status(forge(genuine()))).toBe(401);
  });
});

describe('a cursor', () => {
  const CURSORS = [
    'x',
    '"',
    '%00',
    'AAAA',
    Buffer.from('{"r":-1}').toString('base64url'),
    Buffer.from('{"r":1e99,"k":{}}').toString('base64url'),
  ];

  it.each([
    'spend_limits?after_id=',
    'spend_limits?before_id=',
    'spend_limits/effective?page=',
    'spend_limits/audit?after_id=',
    'spend_limit_increase_requests?page=',
    'usage?starting_at=2026-01-01&page=',
  ])('that was made up is a 400: %s', async (path) => {
    const statuses: number[] = [];
    for (const cursor of CURSORS) {
      const answer = await fetch(`${stack.url}/v1/organizations/${path}${cursor}`, {
        headers: { 'x-api-key': KEY },
      });
      await answer.text();
      statuses.push(answer.status);
    }
    expect([...new Set(statuses)]).toEqual([400]);
  });
});

describe('a connection', () => {
  /** Sends a request of somebody whose token has to be verified first, with more behind it. @returns the answer. */
  async function send(sub: string, behind: string, leave: boolean): Promise<string> {
    const { hostname, port } = new URL(stack.url);
    const socket = connect(Number(port), hostname);
    let answered = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (answered += chunk));
    const closed = new Promise((done) => socket.once('close', done));
    socket.on('error', () => undefined);
    const body = JSON.stringify({
      model: 'claude-opus-4-8',
      max_tokens: 16,
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
    });
    const token = mintBearer(
      { sub },
      {
        secret: (stack.document()['session'] as { jwt_secret: string }).jwt_secret,
        issuer: stack.url,
        program: 'ours',
      },
    );
    socket.write(
      `POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}${behind}`,
      () => {
        if (leave) socket.resetAndDestroy();
      },
    );
    await closed;
    return answered;
  }
  const gauge = async (name: string): Promise<number> => {
    const text = await (await fetch(metricsUrl)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
  };

  it('on which nonsense follows a request is cut, and gets no second answer into the first', async () => {
    const answered = await send('mallory', '\x00\x01 this is no request\r\n\r\n', false);
    expect(answered.match(/HTTP\/1\.1 \d{3}/g)?.length ?? 0).toBeLessThanOrEqual(1);
  });

  it('that goes while its token is being verified takes nothing with it', async () => {
    for (let i = 0; i < 10; i++) {
      await send(`mallory-${i}`, '\x00\x01\r\n\r\n', false);
      await send(`trudy-${i}`, '', true);
    }
    const deadline = performance.now() + 20_000;
    const taken = async (): Promise<number[]> => [
      await gauge('claude_gateway_http_buffered_request_bytes'),
      await gauge('claude_gateway_http_requests_in_flight'),
    ];
    while ((await taken()).some((n) => n !== 0) && performance.now() < deadline) await sleep(100);
    expect(await taken()).toEqual([0, 0]);
  }, 40_000);
});
