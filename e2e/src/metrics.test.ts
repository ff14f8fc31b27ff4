import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@claude-gateway/dev';
import { stringify } from 'yaml';
import { GatewayProcess, runGateway } from './harness/gateway-process.ts';
import { postToken, signIn, type Tokens } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';
import { AdminClient, usd } from './spend/caps.ts';

const WRITE_KEY = 'an-admin-key-of-at-least-thirty-two-bytes';
const PATIENCE_MS = 20_000;

let stack: Stack;
let port: number;
let alice: Tokens;
let bob: Tokens;
beforeAll(async () => {
  port = await freePort();
  stack = await startStack({
    config: {
      metrics: { host: '127.0.0.1', port },
      admin: { write_keys: [{ id: 'test', key: WRITE_KEY }] },
      shutdown: { delay_seconds: 3, grace_seconds: 60 },
    },
  });
  alice = await signIn(stack.url, 'alice');
  bob = await signIn(stack.url, 'bob');
}, 120_000);
afterAll(() => stack?.stop());

const gateway = (): GatewayProcess => stack.replicas[0] as GatewayProcess;

async function exposition(): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(answer.status).toBe(200);
  return answer.text();
}

/** The value of a series, named as Prometheus writes it without the prefix; 0 while there is none. */
async function read(series: string): Promise<number> {
  const line = (await exposition())
    .split('\n')
    .find((one) => one.startsWith(`claude_gateway_${series} `) || one.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
}

async function until(series: string, holds: (value: number) => boolean): Promise<number> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await read(series);
    if (holds(value)) return value;
    if (Date.now() > deadline)
      throw new Error(`${series} stays ${value}; the gateway says:\n${await exposition()}`);
    await sleep(50);
  }
}

/** Does something, and waits until each series has grown by so much; none may grow further. */
async function grows(by: Readonly<Record<string, number>>, work: () => Promise<unknown>): Promise<void> {
  const before = new Map<string, number>();
  for (const series of Object.keys(by)) before.set(series, await read(series));
  await work();
  for (const [series, growth] of Object.entries(by)) {
    const wanted = (before.get(series) ?? 0) + growth;
    expect([series, await until(series, (value) => value >= wanted)]).toEqual([series, wanted]);
  }
}

function ask(accessToken: string, more: object = {}): Promise<Response> {
  return fetch(`${stack.url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'claude-haiku-4-5',
      max_tokens: 50,
      messages: [{ role: 'user', content: 'hello' }],
      ...more,
    }),
  });
}

const MESSAGES = (status: string): string =>
  `http_requests_total{route="messages",method="POST",status="${status}"}`;

it('counts a streamed request where it passes, and settles it by model', async () => {
  let output = 0;
  const tokensBefore = await read('tokens_total{model="claude-haiku-4-5-20251001",type="output"}');
  await grows(
    {
      [MESSAGES('2xx')]: 1,
      'http_request_duration_seconds_count{route="messages"}': 1,
      'inference_requests_total{ending="complete",streamed="true"}': 1,
      'inference_time_to_first_byte_seconds_count{streamed="true"}': 1,
      'inference_duration_seconds_count{streamed="true"}': 1,
      'inference_duration_seconds_count{streamed="false"}': 0,
      'upstream_attempts_total{upstream="anthropic",outcome="success"}': 1,
      'ledger_holds_total{result="held"}': 1,
      'ledger_settlements_total{outcome="complete"}': 1,
      'ledger_batch_size_sum{operation="settle"}': 1,
    },
    async () => {
      const answer = await (await ask(alice.accessToken, { stream: true })).text();
      output = Number([...answer.matchAll(/"output_tokens":(\d+)/g)].at(-1)?.[1]);
    },
  );
  expect(output).toBeGreaterThan(0);
  expect(await read('tokens_total{model="claude-haiku-4-5-20251001",type="output"}')).toBe(
    tokensBefore + output,
  );
  expect(await read('estimated_cost_usd_total{model="claude-haiku-4-5-20251001"}')).toBeGreaterThan(0);
  expect(await read('ledger_open_holds')).toBe(0);
});

it('counts who is refused, and why', async () => {
  await grows({ [MESSAGES('4xx')]: 1, 'authentication_failures_total{reason="malformed"}': 1 }, async () =>
    expect((await ask('not-a-token')).status).toBe(401),
  );
  const admin = new AdminClient(() => stack.url, WRITE_KEY);
  const revision = await read('policy_revision');
  await admin.set({
    scope: { type: 'organization' },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd('0'),
    pooled: true,
  });
  await until('policy_revision', (value) => value > revision);
  await grows(
    {
      [MESSAGES('4xx')]: 1,
      'spend_blocked_total{reason="over_limit",period="daily",source="organization_pool"}': 1,
      'inference_requests_total{ending="refused",streamed="false"}': 1,
      'upstream_attempts_total{upstream="anthropic",outcome="success"}': 0,
    },
    async () => expect((await ask(bob.accessToken)).status).toBe(429),
  );
  await admin.set({
    scope: { type: 'organization' },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd('1000'),
    pooled: true,
  });
  // A request that is let through holds something of the new budget, which needs a lease.
  await grows({ ledger_leases_total: 1, [MESSAGES('2xx')]: 1 }, async () => {
    const deadline = Date.now() + PATIENCE_MS;
    while ((await read('policy_revision')) < revision + 2 && Date.now() < deadline) await sleep(50);
    expect((await ask(bob.accessToken)).status).toBe(200);
  });
});

it('counts sign-ins and refreshes by outcome', async () => {
  expect(await read('session_tokens_total{grant="device_code",outcome="success"}')).toBe(2);
  expect(await read('sign_in_steps_total{step="verify",outcome="success"}')).toBe(2);
  const refresh = (token = '') => postToken(stack.url, { grant_type: 'refresh_token', refresh_token: token });
  await grows({ 'session_tokens_total{grant="refresh_token",outcome="success"}': 1 }, async () =>
    expect((await refresh(bob.refreshToken)).status).toBe(200),
  );
  await grows({ 'session_tokens_total{grant="refresh_token",outcome="denied"}': 1 }, async () =>
    expect((await refresh('never-issued')).status).toBe(401),
  );
});

it('counts a failover, after a reload that leaves what was counted', async () => {
  const document = stack.document();
  const [upstream] = document['upstreams'] as readonly object[];
  const away = { ...upstream, name: 'away', base_url: `http://127.0.0.1:${await freePort()}` };
  await grows({ 'config_loads_total{outcome="loaded"}': 1, [MESSAGES('2xx')]: 0 }, async () => {
    gateway().reconfigure({ ...document, upstreams: [away, upstream] });
    await gateway().until(({ msg }) => msg === 'configuration reloaded');
  });
  await grows(
    {
      'upstream_attempts_total{upstream="away",outcome="unreachable"}': 1,
      'upstream_failovers_total{upstream="away"}': 1,
      'upstream_attempts_total{upstream="anthropic",outcome="success"}': 1,
    },
    async () => expect((await ask(alice.accessToken)).status).toBe(200),
  );
});

it('says nothing about anybody, and nothing that Prometheus would not take', async () => {
  const text = await exposition();
  for (const secret of ['alice', 'bob', 'corp.example', 'sk-ant', WRITE_KEY, 'req_', alice.accessToken])
    expect(text).not.toContain(secret);
  expect(await read('database_up')).toBe(1);
  expect(await read('build_info{version="0.1.0"}')).toBe(1);
  const { error, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  if (error !== undefined) {
    process.emitWarning('promtool is not installed (apt-get install prometheus): its check is skipped');
    return;
  }
  const findings = `${stdout}${stderr}`.split('\n').filter((line) => /^claude_gateway|error/.test(line));
  expect(findings).toEqual([]);
});

const hasPrometheus = spawnSync('prometheus', ['--version']).status === 0;
if (!hasPrometheus)
  process.emitWarning('prometheus is not installed (apt-get install prometheus): its test is skipped');

(hasPrometheus ? it : it.skip)(
  'a real Prometheus scrapes it, and takes the rules of the docs',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'prometheus-'));
    const rules = resolve(import.meta.dirname, '../../docs/prometheus-rules.yaml');
    const config = join(directory, 'prometheus.yml');
    writeFileSync(
      config,
      stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: [rules],
        scrape_configs: [{ job_name: 'gateway', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
      }),
    );
    const address = `127.0.0.1:${await freePort()}`;
    const prometheus = spawn(
      'prometheus',
      [`--config.file=${config}`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=${address}`],
      { stdio: 'ignore' },
    );
    const ask = async (path: string): Promise<unknown> => {
      const deadline = Date.now() + PATIENCE_MS;
      for (;;) {
        const found = await fetch(`http://${address}/api/v1/${path}`)
          .then((answer) => answer.json() as Promise<{ data: { result?: unknown[]; groups?: unknown[] } }>)
          .then(({ data }) => data.result ?? data.groups ?? [])
          .catch(() => []);
        if (found.length > 0) return found;
        if (Date.now() > deadline) throw new Error(`Prometheus has nothing about ${path}`);
        await sleep(200);
      }
    };
    try {
      const query = (text: string) => ask(`query?query=${encodeURIComponent(text)}`);
      expect(await query('up == 1')).toMatchObject([{ metric: { job: 'gateway' } }]);
      const settled = await read('ledger_settlements_total{outcome="complete"}');
      expect(await query('sum(claude_gateway_ledger_settlements_total)')).toMatchObject([
        { value: [expect.any(Number), String(settled)] },
      ]);
      const quantile =
        'histogram_quantile(0.5, sum by (le) (claude_gateway_inference_time_to_first_byte_seconds_bucket)) > 0';
      expect(await query(quantile)).toHaveLength(1);
      await query('sum(ALERTS) or vector(1)');
      const [group] = (await ask('rules')) as [{ rules: readonly { health: string; name: string }[] }];
      expect(group.rules.filter(({ health }) => health === 'err')).toEqual([]);
      expect(group.rules.map(({ name }) => name)).toContain('ClaudeGatewayDatabaseDown');
    } finally {
      prometheus.kill('SIGKILL');
      await once(prometheus, 'exit');
      rmSync(directory, { recursive: true, force: true });
    }
  },
  60_000,
);

it('is not on the public port', async () => {
  const answer = await fetch(`${stack.url}/metrics`);
  expect(await answer.text()).not.toContain('claude_gateway_');
});

it('a port that is taken ends the start in one line that names the setting', async () => {
  const squatter = createServer();
  await new Promise<void>((done) => squatter.listen(0, '127.0.0.1', done));
  const { port: taken } = squatter.address() as AddressInfo;
  const listen = { host: '127.0.0.1', port: await freePort() };
  const other = GatewayProcess.spawn({
    ...stack.document(),
    listen,
    metrics: { host: '127.0.0.1', port: taken },
  });
  expect(await other.exited).toBe(1);
  expect(other.output).toContain(`metrics.port: port ${taken} of 127.0.0.1 is in use`);
  squatter.close();
  const { code, stderr } = await runGateway(['--config', other.configPath, '--check']);
  expect([code, stderr]).toEqual([0, '']);
  other.reconfigure(stringify({ ...stack.document(), listen, metrics: { port: listen.port } }));
  const refused = await runGateway(['--config', other.configPath, '--check']);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('metrics.port');
  await other.stop();
}, 60_000);

it('a replica that drains is scraped to its end', async () => {
  gateway().signal('SIGTERM');
  await until('draining', (value) => value === 1);
  expect((await fetch(`${stack.url}/readyz`)).status).toBe(503);
  expect(await gateway().exited).toBe(0);
  await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
}, 60_000);
