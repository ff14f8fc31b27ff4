import { freePort, startMessagesUpstream, startPostgres, startIdentityProvider } from '@claude-gateway/dev';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { mintBearer } from '../harness/bearer.ts';
import { GatewayProcess } from '../harness/gateway-process.ts';

const MIB = 1024 * 1024;
const SECRET = 'a-secret-of-at-least-thirty-two-bytes-for-tests';
const BUDGET = 96 * MIB;
/** What they send of the 32 MiB that they declare. */
const SENT = 30 * MIB;
const CONNECTIONS = 15;

const cleanups: (() => Promise<unknown>)[] = [];
const sockets: Socket[] = [];
let gateway: GatewayProcess;
let url = '';
const bearer = (sub: string): string => mintBearer({ sub }, { secret: SECRET, issuer: url, program: 'ours' });

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const postgres = await startPostgres();
  cleanups.push(() => postgres.stop());
  const upstream = await startMessagesUpstream();
  cleanups.push(() => upstream.stop());
  const identityProvider = await startIdentityProvider({
    clients: [{ client_id: 'g', client_secret: 's', redirect_uris: [`${url}/oauth/callback`] }],
  });
  cleanups.push(() => identityProvider.stop());
  const config = {
    listen: { host: '127.0.0.1', port, public_url: url },
    oidc: { issuer: identityProvider.issuer, client_id: 'g', client_secret: 's' },
    session: { jwt_secret: SECRET },
    store: { postgres_url: await postgres.createDatabase() },
    upstreams: [{ provider: 'anthropic', base_url: upstream.url, auth: { api_key: 'k' } }],
    limits: { max_buffered_request_bytes: BUDGET, min_request_bytes_per_second: 4 * MIB },
    metrics: { host: '127.0.0.1', port: 0 },
  };
  gateway = await GatewayProcess.start(config, { NODE_OPTIONS: '--max-old-space-size=128' });
  cleanups.push(() => gateway.stop());
}, 120_000);
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const rss = (): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))?.[1]) * 1024;

/** Declares a body, sends a part of it, and waits. */
function unfinished(
  headers: string,
  path: string,
  bytes: number,
  declared = 32 * MIB,
): { answer: () => string } {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  sockets.push(socket);
  let answer = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n${headers}content-length: ${declared}\r\n\r\n`,
  );
  socket.write(Buffer.alloc(bytes, 'x'));
  return { answer: () => answer };
}

async function ask(sub: string): Promise<number> {
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer(sub)}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'claude-haiku-4-5',
      max_tokens: 10,
      messages: [{ role: 'user', content: 'x'.repeat(50_000) }],
    }),
  });
  await response.text();
  return response.status;
}

describe('bodies that are never finished', () => {
  it('take one person half of the budget, nobody else their turn, and are over soon', async () => {
    expect(await ask('honest')).toBe(200);
    const before = rss();
    const headers = `authorization: Bearer ${bearer('greedy')}\r\n`;
    const held = Array.from({ length: CONNECTIONS }, () => unfinished(headers, '/v1/messages', SENT));
    const count = (status: string) =>
      held.filter(({ answer }) => answer().startsWith(`HTTP/1.1 ${status} `)).length;

    while (count('503') < CONNECTIONS - 1) await sleep(20);
    let most = rss();
    for (let i = 0; i < 20; i++) {
      expect(await ask('honest')).toBe(200);
      most = Math.max(most, rss());
      await sleep(50);
    }
    // All of them sent 450 MiB, of which one body is kept.
    expect(most - before).toBeLessThan(BUDGET + 64 * MIB);
    while (count('408') < 1) await sleep(100);
    expect([count('503'), count('408')]).toEqual([CONNECTIONS - 1, 1]);

    await gateway.until(({ reason }) => reason === 'slow_body');
    const shed = gateway.lines.filter(({ msg }) => String(msg).includes('to keep this replica serving'));
    expect(shed).toMatchObject([
      { reason: 'buffered_bytes_per_person', limit: 'limits.max_buffered_request_bytes', sub: 'greedy' },
      { reason: 'slow_body', limit: 'limits.min_request_bytes_per_second', sub: 'greedy' },
    ]);
  }, 60_000);

  it.each([
    ['without a credential', '/v1/messages', '401'],
    ['to nothing', '/nothing', '404', 200_000],
    ['of too much to nothing', '/nothing', '413'],
    ['of a form', '/oauth/token', '413'],
    ['of telemetry, without a credential', '/v1/logs', '401'],
    ['of the admin API', '/v1/organizations/spend_limits', '404', 200_000],
  ])(
    '%s are refused, and their connections closed within seconds',
    async (_, path, status, declared = 32 * MIB) => {
      const started = sockets.length;
      const held = Array.from({ length: 5 }, () => unfinished('', path, 100_000, declared));
      while (!held.every(({ answer }) => answer().includes('\r\n\r\n'))) await sleep(20);
      for (const { answer } of held) expect(answer()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      const begun = Date.now();
      while (sockets.slice(started).some((socket) => !socket.closed)) await sleep(50);
      // The liveness that clients may count on; see SECURITY.md.
      expect(Date.now() - begun).toBeLessThan(10_000);
    },
    30_000,
  );

  it('end when the limits that are in force are others', async () => {
    const held = unfinished(`authorization: Bearer ${bearer('patient')}\r\n`, '/v1/messages', 1000);
    await sleep(300);
    gateway.reconfigure(
      readFileSync(gateway.configPath, 'utf8').replace(
        'limits:',
        'timeouts:\n  request_body_ms: 1000\nlimits:',
      ),
    );
    await gateway.until(({ msg }) => msg === 'configuration reloaded');
    while (!held.answer().startsWith('HTTP/1.1 408 ')) await sleep(50);
  }, 30_000);
});
