import { describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { StoreUnavailableError, type LedgerStore, type UsageRecord } from '@claude-gateway/prisma';
import type { Audit } from '../audit.ts';
import { createMetrics, type GatewayMetrics, type MetricSources } from './metrics.ts';
import { routeOf } from './route.ts';
import { hasPromtool, promtoolFindings, samplesOf } from './testing/exposition.ts';

const SOURCES: MetricSources = {
  inFlight: () => 3,
  connections: () => Promise.resolve(5),
  bufferedRequestBytes: () => 2048,
  draining: () => true,
  openHolds: () => 2,
  abandonedReads: () => 5,
  queuedSettlements: () => 7,
  policyRevision: () => 42n,
};

const NOW = 1_790_000_000_000;
const create = (): GatewayMetrics => createMetrics({ version: '1.2.3', sources: SOURCES, now: () => NOW });
const scrape = async ({ registry }: GatewayMetrics) => samplesOf(await registry.metrics());

const RECORD: UsageRecord = {
  id: '9d0c1f5e-0000-4000-8000-000000000001',
  requestId: 'req_secret',
  sub: 'sub-of-alice',
  kind: 'user',
  email: 'alice@corp.example',
  name: 'Alice',
  groups: ['payments'],
  model: 'claude-haiku-4-5',
  upstream: 'anthropic',
  fastMode: false,
  inputTokens: 100,
  outputTokens: 20,
  cacheReadTokens: 3,
  cacheWrite5mTokens: 4,
  cacheWrite1hTokens: 5,
  webSearches: 0,
  costNanoUsd: 1_500_000_000n,
  outcome: 'complete',
  status: 200,
  admittedAt: new Date(NOW),
  firstByteMs: 10,
  durationMs: 20,
};

/** Something of everything. */
function exercise(metrics: GatewayMetrics): void {
  const { requests, inference, ledger, events } = metrics;
  requests.answered('POST', '/v1/messages?beta=true', 200, 30);
  requests.answered('POST', '/v1/messages', 529, 12_000);
  requests.answered('BREW', '/etc/passwd', 499, 1);
  inference.attempted('primary', 'rate_limited');
  inference.failedOver('primary');
  inference.attempted('secondary', 'success');
  inference.ended(true, 'complete', 200, 45_000);
  inference.ended(false, 'refused', null, 5);
  ledger.knowModels(['claude-haiku-4-5']);
  ledger.held('held');
  ledger.held('short');
  ledger.settled(RECORD);
  ledger.settled({ ...RECORD, model: 'alice@corp.example' });
  ledger.released();
  const audit = events.watch(() => undefined);
  audit('session.mint', { result: 'success', email: 'alice@corp.example' });
  audit('session.refresh', { result: 'denied', reason: 'reused', sub: 'sub-of-alice' });
  audit('device.authorize', { result: 'rate_limited', client_ip: '192.0.2.1' });
  audit('auth.denied', { reason: 'expired' });
  audit('access.denied', { reason: 'deny_cidrs', path: '/etc/passwd' });
  audit('spend.blocked', { cause: 'over_limit', period: 'daily', source: 'group_pool', group: 'payments' });
  audit('policy.load', { revision: '42' });
  audit('policy.reject', { revision: '43' });
  audit('config.load', { path: '/etc/gateway.yaml' });
  audit('config.reject', { path: '/etc/gateway.yaml' });
}

describe('the metrics of a gateway', () => {
  it('count requests by route, method and class of status', async () => {
    const metrics = create();
    exercise(metrics);
    const samples = await scrape(metrics);
    const requests = (labels: string) => samples.get(`claude_gateway_http_requests_total{${labels}}`);
    expect(requests('route="messages",method="POST",status="2xx"')).toBe(1);
    expect(requests('route="messages",method="POST",status="5xx"')).toBe(1);
    expect(requests('route="other",method="other",status="4xx"')).toBe(1);
    const duration = 'claude_gateway_http_request_duration_seconds';
    expect(samples.get(`${duration}_count{route="messages"}`)).toBe(2);
    expect(samples.get(`${duration}_bucket{le="0.1",route="messages"}`)).toBe(1);
    expect(samples.get(`${duration}_sum{route="messages"}`)).toBeCloseTo(12.03);
  });

  it('count attempts, failovers, and the latency of what was answered', async () => {
    const metrics = create();
    exercise(metrics);
    const samples = await scrape(metrics);
    const of = (name: string) => samples.get(`claude_gateway_${name}`);
    expect(of('upstream_attempts_total{upstream="primary",outcome="rate_limited"}')).toBe(1);
    expect(of('upstream_attempts_total{upstream="secondary",outcome="success"}')).toBe(1);
    expect(of('upstream_failovers_total{upstream="primary"}')).toBe(1);
    expect(of('inference_requests_total{ending="complete",streamed="true"}')).toBe(1);
    expect(of('inference_requests_total{ending="refused",streamed="false"}')).toBe(1);
    expect(of('inference_time_to_first_byte_seconds_sum{streamed="true"}')).toBe(0.2);
    expect(of('inference_duration_seconds_bucket{le="60",streamed="true"}')).toBe(1);
    expect(of('inference_duration_seconds_bucket{le="30",streamed="true"}')).toBe(0);
    // Refused: nobody answered, so there is no latency of an answer.
    expect(of('inference_duration_seconds_count{streamed="false"}') ?? 0).toBe(0);
  });

  it('count what the ledger does, and tokens and cost of known models only', async () => {
    const metrics = create();
    exercise(metrics);
    const samples = await scrape(metrics);
    const of = (name: string) => samples.get(`claude_gateway_${name}`);
    expect(of('ledger_holds_total{result="held"}')).toBe(1);
    expect(of('ledger_holds_total{result="short"}')).toBe(1);
    expect(of('ledger_releases_total')).toBe(1);
    expect(of('ledger_settlements_total{outcome="complete"}')).toBe(2);
    const tokens = (type: string) => of(`tokens_total{model="claude-haiku-4-5",type="${type}"}`);
    expect(['input', 'output', 'cache_read', 'cache_write'].map(tokens)).toEqual([100, 20, 3, 9]);
    expect(of('tokens_total{model="other",type="input"}')).toBe(100);
    expect(of('estimated_cost_usd_total{model="claude-haiku-4-5"}')).toBe(1.5);
  });

  it('count what the audit stream says, and hand it on', async () => {
    const metrics = create();
    exercise(metrics);
    const written: Parameters<Audit>[] = [];
    metrics.events.watch((...event) => void written.push(event))('auth.denied', { reason: 'expired' });
    expect(written).toEqual([['auth.denied', { reason: 'expired' }]]);
    const samples = await scrape(metrics);
    const of = (name: string) => samples.get(`claude_gateway_${name}`);
    expect(of('session_tokens_total{grant="device_code",outcome="success"}')).toBe(1);
    expect(of('session_tokens_total{grant="refresh_token",outcome="denied"}')).toBe(1);
    expect(of('sign_in_steps_total{step="authorize",outcome="rate_limited"}')).toBe(1);
    expect(of('rate_limited_total{step="authorize"}')).toBe(1);
    expect(of('authentication_failures_total{reason="expired"}')).toBe(2);
    expect(of('access_denied_total{reason="deny_cidrs"}')).toBe(1);
    expect(of('spend_blocked_total{reason="over_limit",period="daily",source="group_pool"}')).toBe(1);
    expect(of('policy_loads_total{outcome="loaded"}')).toBe(1);
    expect(of('policy_loads_total{outcome="rejected"}')).toBe(1);
    expect(of('policy_last_load_timestamp_seconds')).toBe(NOW / 1000);
    expect(of('config_loads_total{outcome="rejected"}')).toBe(1);
    expect(of('config_last_load_timestamp_seconds')).toBe(NOW / 1000);
  });

  it('say how the gateway stands when they are scraped', async () => {
    const samples = await scrape(create());
    const of = (name: string) => samples.get(`claude_gateway_${name}`);
    expect(of('http_requests_in_flight')).toBe(3);
    expect(of('http_connections')).toBe(5);
    expect(of('draining')).toBe(1);
    expect(of('ledger_open_holds')).toBe(2);
    expect(of('abandoned_reads')).toBe(5);
    expect(of('ledger_queued_settlements')).toBe(7);
    expect(of('policy_revision')).toBe(42);
    expect(of('build_info{version="1.2.3"}')).toBe(1);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  it('have nobody in their labels, and no more values than can be kept', async () => {
    const metrics = create();
    exercise(metrics);
    const audit = metrics.events.watch(() => undefined);
    for (let i = 0; i < 1000; i++) audit('auth.denied', { reason: `made-up-${i}` });
    audit('auth.denied', { reason: { email: 'alice@corp.example' } });
    const text = await metrics.registry.metrics();
    for (const secret of ['alice', 'payments', 'req_secret', '192.0.2.1', 'passwd', 'BREW', 'gateway.yaml'])
      expect(text).not.toContain(secret);
    const reasons = text.split('\n').filter((line) => line.includes('authentication_failures_total{'));
    expect(reasons.length).toBeLessThanOrEqual(33);
    expect(samplesOf(text).get('claude_gateway_authentication_failures_total{reason="other"}')).toBe(970);
  });

  it('are apart from those of another gateway in the process', async () => {
    const [one, other] = [create(), create()];
    one.requests.answered('GET', '/readyz', 200, 1);
    const name = 'claude_gateway_http_requests_total{route="probe",method="GET",status="2xx"}';
    expect((await scrape(one)).get(name)).toBe(1);
    expect((await scrape(other)).get(name)).toBeUndefined();
  });

  it('keep counting from scrape to scrape', async () => {
    const metrics = create();
    exercise(metrics);
    const first = await scrape(metrics);
    exercise(metrics);
    const second = await scrape(metrics);
    const name = 'claude_gateway_http_requests_total{route="messages",method="POST",status="2xx"}';
    expect([first.get(name), second.get(name)]).toEqual([1, 2]);
  });

  if (!hasPromtool)
    process.emitWarning('promtool is not installed (apt-get install prometheus): its tests are skipped');
  (hasPromtool ? it : it.skip)('are what Prometheus takes', async () => {
    const metrics = create();
    exercise(metrics);
    const text = await metrics.registry.metrics();
    expect(promtoolFindings(text.replaceAll('_total', '_sum'))).not.toEqual([]);
    // Those of the process are named by prom-client.
    expect(promtoolFindings(text).filter((line) => !/^(nodejs|process)_/.test(line))).toEqual([]);
  });
});

describe('a watched store', () => {
  const answers = { windows: [] };
  const store = (settle: LedgerStore['settle']): LedgerStore => {
    const refuse = () => Promise.reject(new StoreUnavailableError('away'));
    return {
      openWindows: refuse,
      lease: () =>
        Promise.resolve(
          [1n, 0n, 5n].map((granted) => ({ windowId: 'w', spent: 0n, held: 0n, leased: 0n, granted })),
        ),
      settle,
      heartbeat: refuse,
      leave: refuse,
      sweep: () => Promise.reject(new Error('a defect')),
      recall: refuse,
      onRecall: () => () => undefined,
      windows: refuse,
    };
  };

  it('counts transactions, batches and leases, and knows whether the database is up', async () => {
    const metrics = create();
    const up = async () => (await scrape(metrics)).get('claude_gateway_database_up');
    const watched = metrics.transactions.watch(store(() => Promise.resolve(answers)));
    expect(await up()).toBe(0);
    expect(await watched.settle('r', { settlements: [{ record: RECORD, windowIds: [] }], returns: [] })).toBe(
      answers,
    );
    expect(await watched.lease('r', [])).toHaveLength(3);
    expect(await up()).toBe(1);
    await expect(watched.sweep()).rejects.toThrow('a defect');
    expect(await up()).toBe(1);
    await expect(watched.windows([])).rejects.toThrow('away');
    expect(await up()).toBe(0);
    const samples = await scrape(metrics);
    const of = (name: string) => samples.get(`claude_gateway_ledger_${name}`);
    expect(of('leases_total')).toBe(2);
    expect(of('batch_size_sum{operation="settle"}')).toBe(1);
    const transactions = (labels: string) => of(`transaction_duration_seconds_count{${labels}}`);
    expect(transactions('operation="settle",outcome="ok"')).toBe(1);
    expect(transactions('operation="sweep",outcome="error"')).toBe(1);
    expect(transactions('operation="windows",outcome="unavailable"')).toBe(1);
  });
});

it.each([
  ['/v1/messages', 'messages'],
  ['/v1/models/claude-haiku-4-5', 'models'],
  ['/v1/organizations/spend_limits/lim_1', 'admin'],
  ['/oauth/token', 'token'],
  ['/device', 'sign_in'],
  ['/nonsense', 'other'],
])('%s is %s', (path, route) => {
  expect(routeOf(path)).toBe(route);
});

it('the table in docs/operations.md has every metric, and no other', async () => {
  const docs = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
  const rows = [...docs.matchAll(/^\| `(claude_gateway_\w+)` +\| (\w+) +\| ([^|]*?) *\|/gm)].map(
    ([, name, type, labels = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, l]) => l),
    }),
  );
  const metrics = (await create().registry.getMetricsAsJSON()).filter(({ name }) =>
    name.startsWith('claude_gateway_'),
  );
  expect(rows.map(({ name, type }) => `${name} ${type}`).sort()).toEqual(
    metrics.map(({ name, type }) => `${name} ${String(type)}`).sort(),
  );
  for (const { name, labels } of rows) {
    const { labelNames } = create().registry.getSingleMetric(name ?? '') as unknown as {
      labelNames: string[];
    };
    expect({ name, labels }).toEqual({ name, labels: labelNames });
  }
});

describe('docs/prometheus-rules.yaml', () => {
  const file = fileURLToPath(new URL('../../../../docs/prometheus-rules.yaml', import.meta.url));

  it('and the queries in the docs ask for metrics that there are', async () => {
    const docs = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
    const names = new Set((await create().registry.getMetricsAsJSON()).map(({ name }) => name));
    const asked = (docs + readFileSync(file, 'utf8')).match(/\b(claude_gateway|nodejs)_\w*[a-z0-9]\b/g) ?? [];
    const unknown = asked.filter((name) => !names.has(name.replace(/_(bucket|sum|count)$/, '')));
    expect(asked.length).toBeGreaterThan(50);
    expect(unknown).toEqual([]);
  });

  (hasPromtool ? it : it.skip)('are rules that Prometheus takes', () => {
    const { stdout, stderr, status } = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('SUCCESS: 7 rules found');
  });
});
