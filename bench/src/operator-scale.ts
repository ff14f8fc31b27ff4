/**
 * How the operator bears many resources: on a real API server and a real PostgreSQL, without nodes.
 *
 *   node bench/src/operator-scale.ts [--gateways 10] [--policies 5000] [--settings 500] [--edits 50] [--out DIRECTORY]
 *
 * Writes operator-scale.json (everything) and operator-scale.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Platform, until, type Namespace, type OperatorProcess } from '@claude-gateway/e2e';
import { cpuSeconds, describeMachine, residentBytes } from './process-stats.ts';

const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '10' },
    policies: { type: 'string', default: '5000' },
    settings: { type: 'string', default: '500' },
    edits: { type: 'string', default: '50' },
    out: { type: 'string', default: resolve(import.meta.dirname, '../results') },
  },
});
const [gateways, policies, settings, edits] = [
  values.gateways,
  values.policies,
  values.settings,
  values.edits,
].map(Number) as [number, number, number, number];
const QUIET_SECONDS = 60;
const KINDS = [
  'ClaudeGateway',
  'SpendPolicy',
  'ManagedSettings',
  'Deployment',
  'ConfigMap',
  'Secret',
  'Service',
];

const machine = describeMachine();
const platform = await Platform.start();
const result = {
  date: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname })
    .toString()
    .trim(),
  machine,
  gateways,
  policies,
  settings,
  /** From the start of the process until every resource said that it was accepted, in s: nothing was there before. */
  firstStart: 0,
  /** The same for a process that finds everything done, in s: until its queues were empty. */
  restart: 0,
  /** Objects that were written by that second start. */
  writtenByRestart: 0,
  /** In a minute in which nothing happened: objects that were written, CPU in s, resident memory in MiB. */
  quiet: { written: 0, cpuSeconds: 0, residentMiB: 0 },
  /** From the answer to an edit of one policy until its status said that all three replicas enforce it, in ms. */
  enforced: [] as number[],
};

try {
  const namespaces: Namespace[] = [];
  for (let i = 0; i < gateways; i++) {
    const namespace = await platform.namespace(`team-${i}`);
    await namespace.apply(namespace.gatewayManifest());
    namespaces.push(namespace);
  }
  const at = (i: number): Namespace => namespaces[i % gateways] as Namespace;
  const policy = (namespace: Namespace, i: number, usd: string) =>
    namespace.manifest('SpendPolicy', `policy-${i}`, {
      subject: { kind: 'Group', name: `group-${i}` },
      limits: [{ period: 'Daily', usd }],
    });
  await inParallel(policies, (i) => at(i).apply(policy(at(i), i, '10.00')));
  await inParallel(settings, (i) =>
    at(i).apply(
      at(i).manifest('ManagedSettings', `settings-${i}`, {
        match: { groups: [`group-${i}`] },
        priority: i,
        settings: { permissions: { deny: ['WebFetch'] } },
      }),
    ),
  );

  let started = performance.now();
  let operator = await platform.operator('first');
  await until(() => allAccepted(namespaces), undefined, 600_000);
  await idle(operator);
  result.firstStart = seconds(started);
  report('first start', result.firstStart);
  await operator.stop();

  const before = await versions(namespaces);
  started = performance.now();
  operator = await platform.operator('second');
  await idle(operator);
  result.restart = seconds(started);
  await sleep(5_000);
  const after = await versions(namespaces);
  result.writtenByRestart = changed(before, after);
  report('restart', { seconds: result.restart, written: result.writtenByRestart });

  const cpu = cpuSeconds(operator.pid);
  await sleep(QUIET_SECONDS * 1000);
  result.quiet = {
    written: changed(after, await versions(namespaces)),
    cpuSeconds: Math.round((cpuSeconds(operator.pid) - cpu) * 100) / 100,
    residentMiB: Math.round(residentBytes(operator.pid) / 2 ** 20),
  };
  report('a quiet minute', result.quiet);

  const [namespace] = namespaces as [Namespace];
  for (let i = 0; i < 3; i++) await platform.pod(namespace, 'main');
  await sleep(35_000);
  for (let edit = 1; edit <= edits; edit++) {
    const { metadata } = await namespace.apply(policy(namespace, 0, `${10 + edit}.00`));
    started = performance.now();
    await until(
      async () => {
        const { status } = await namespace.get('SpendPolicy', 'policy-0');
        const condition = status?.conditions?.find(({ type }) => type === 'Enforced');
        return condition?.observedGeneration === metadata.generation && condition?.status === 'True';
      },
      undefined,
      60_000,
      10,
    );
    result.enforced.push(Math.round(performance.now() - started));
  }
  report(
    'enforced, ms',
    result.enforced.toSorted((a, b) => a - b),
  );
} finally {
  await platform.stop();
}

mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, 'operator-scale.json'), `${JSON.stringify(result, null, 1)}\n`);
const sorted = result.enforced.toSorted((a, b) => a - b);
const quantile = (q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0;
const page = [
  '# The operator with many resources',
  '',
  `${result.date.slice(0, 10)}, commit ${result.commit}; ${machine.cpus} CPUs (${machine.cpu}), load before ${machine.loadBefore}. A real API`,
  `server and a real PostgreSQL on the same machine; ${gateways} gateways, each with a database of its own, ${policies} spend policies and`,
  `${settings} managed settings, spread evenly.`,
  '',
  '| | |',
  '|---|---|',
  `| first start, until everything is accepted and written | ${result.firstStart} s |`,
  `| start of another process that finds it so, until it is idle | ${result.restart} s |`,
  `| objects written by that | ${result.writtenByRestart} |`,
  `| objects written in ${QUIET_SECONDS} s in which nothing changes | ${result.quiet.written} |`,
  `| CPU in these | ${result.quiet.cpuSeconds} s |`,
  `| resident memory | ${result.quiet.residentMiB} MiB |`,
  `| an edited policy is enforced by three replicas and says so, median of ${sorted.length} | ${quantile(0.5)} ms |`,
  `| the same, 99th percentile | ${quantile(0.99)} ms |`,
  '',
].join('\n');
writeFileSync(join(values.out, 'operator-scale.md'), page);
console.log(page);
process.exit(0);

async function inParallel(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let i = next++; i < count; i = next++) await work(i);
    }),
  );
}

async function allAccepted(namespaces: readonly Namespace[]): Promise<boolean> {
  for (const namespace of namespaces)
    for (const kind of ['ClaudeGateway', 'SpendPolicy', 'ManagedSettings'])
      for (const { metadata, status } of await namespace.list(kind)) {
        const accepted = status?.conditions?.find(({ type }) => type === 'Accepted');
        if (accepted?.status !== 'True' || accepted.observedGeneration !== metadata.generation) return false;
      }
  return true;
}

/** Until the operator has had nothing to do for a second; gateways are due again once a minute, and count always. */
async function idle(operator: OperatorProcess): Promise<void> {
  let since = performance.now();
  while (performance.now() - since < 1_000) {
    const sizes = await Promise.all(
      ['rows', 'spend-policy', 'managed-settings'].map((name) =>
        operator.metric(`claude_gateway_operator_queue_keys{controller="${name}"}`).catch(() => 1),
      ),
    );
    if (sizes.some((size) => size > 0)) since = performance.now();
    await sleep(50);
  }
}

async function versions(namespaces: readonly Namespace[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const namespace of namespaces)
    for (const kind of KINDS)
      for (const { metadata } of await namespace.list(kind))
        found.set(metadata.uid, metadata.resourceVersion);
  return found;
}

function changed(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): number {
  return [...after].filter(([uid, version]) => before.get(uid) !== version).length;
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 100) / 10;
}

function report(what: string, measured: unknown): void {
  console.error(`${what}: ${JSON.stringify(measured)}`);
}
