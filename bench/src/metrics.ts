/**
 * What metrics cost: two gateways of ours that differ in nothing but a section `metrics`, on one CPU, in many short
 * rounds that alternate. The one with metrics is scraped every five seconds.
 *
 *   node --conditions=source bench/src/metrics.ts [--rounds 20] [--seconds 1.5] [--connections 16]
 *
 * Prints, for each kind of request, the median of the rounds' ratios (with : without) of requests per second and of CPU
 * per request, with quartiles.
 */
import { execFile, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { freePort, startIdentityProvider, startPostgres } from '@claude-gateway/dev';
import { signIn } from '@claude-gateway/e2e';
import type { LoadOptions, LoadResult } from './load.ts';
import { cpuSeconds, pin } from './process-stats.ts';
import { GATEWAY_CPU, launchGateway, LOAD_CPU, OURS, startUpstream, type System } from './systems.ts';

const WARM_UP_MS = 200;
const SCRAPE_EVERY_MS = 5_000;
const SCENARIOS = [
  { name: 'small', kind: { bodyBytes: 500 } },
  { name: 'small, streamed', kind: { bodyBytes: 500, deltas: 20 } },
];

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '1.5' },
    connections: { type: 'string', default: '16' },
  },
});
const rounds = Number(values.rounds);

const directory = mkdtempSync(join(tmpdir(), 'bench-metrics-'));
const children: ChildProcess[] = [];
const ports = [await freePort(), await freePort()] as const;
const metricsPort = await freePort();
const client = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };
const postgres = await startPostgres();
const identityProvider = await startIdentityProvider({
  clients: [
    {
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: ports.map((port) => `http://127.0.0.1:${port}/oauth/callback`),
    },
  ],
});
let scraper: NodeJS.Timeout | undefined;
try {
  const upstream = await startUpstream(children);
  const launch = async (name: string, port: number, more: object): Promise<System> => {
    const home = join(directory, name);
    mkdirSync(home);
    const document = {
      listen: { host: '127.0.0.1', port, public_url: `http://127.0.0.1:${port}` },
      oidc: { issuer: identityProvider.issuer, client_id: client.id, client_secret: client.secret },
      session: { jwt_secret: 'a-secret-of-at-least-thirty-two-bytes-for-benchmarks' },
      store: { postgres_url: await postgres.createDatabase() },
      upstreams: [
        {
          provider: 'anthropic',
          base_url: `http://127.0.0.1:${upstream.port}`,
          auth: { api_key: 'sk-ant-benchmark' },
        },
      ],
      ...more,
    };
    const child = await launchGateway({ home, command: process.execPath, args: OURS, document });
    children.push(child);
    const { accessToken } = await signIn(`http://127.0.0.1:${port}`, 'alice');
    return { name: 'ours', port, pid: child.pid ?? 0, bearer: accessToken };
  };
  const systems = {
    without: await launch('without', ports[0], {}),
    with: await launch('with', ports[1], { metrics: { host: '127.0.0.1', port: metricsPort } }),
  };
  const pinned = [
    pin(systems.without.pid, GATEWAY_CPU),
    pin(systems.with.pid, GATEWAY_CPU),
    pin(upstream.pid, LOAD_CPU),
  ].every(Boolean);
  scraper = setInterval(() => {
    fetch(`http://127.0.0.1:${metricsPort}/metrics`)
      .then((response) => response.text())
      .catch(() => undefined);
  }, SCRAPE_EVERY_MS);

  for (const scenario of SCENARIOS) {
    const load = async (system: System, measureMs: number) => {
      const options: LoadOptions = {
        port: system.port,
        bearer: system.bearer,
        connections: Number(values.connections),
        ...scenario.kind,
        warmUpMs: WARM_UP_MS,
        measureMs,
      };
      const before = cpuSeconds(system.pid);
      const command = [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)];
      const { stdout } = pinned
        ? await promisify(execFile)('taskset', ['-c', String(LOAD_CPU), process.execPath, ...command])
        : await promisify(execFile)(process.execPath, command);
      const result = JSON.parse(stdout) as LoadResult;
      if (result.errors > 0) throw new Error(`${result.errors} requests failed`);
      const all = (result.requests * (WARM_UP_MS + measureMs)) / measureMs;
      return { rate: result.requestsPerSecond, cpu: (cpuSeconds(system.pid) - before) / all };
    };
    // Compilers have seen thousands of requests before anything counts.
    for (const system of Object.values(systems)) await load(system, 4_000);
    const ratios: { rate: number; cpu: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const);
      const runs = { without: { rate: 0, cpu: 0 }, with: { rate: 0, cpu: 0 } };
      for (const name of order) runs[name] = await load(systems[name], Number(values.seconds) * 1000);
      ratios.push({ rate: runs.with.rate / runs.without.rate, cpu: runs.with.cpu / runs.without.cpu });
    }
    console.log(
      `${scenario.name}, ${values.connections} connections, ${rounds} rounds${pinned ? '' : ', not pinned'}: ` +
        `requests/s ${spread(ratios.map(({ rate }) => rate))}, CPU per request ${spread(ratios.map(({ cpu }) => cpu))}`,
    );
  }
} finally {
  clearInterval(scraper);
  for (const child of children) child.kill('SIGKILL');
  await identityProvider.stop();
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
}

function spread(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (part: number): string => (sorted[Math.round(part * (sorted.length - 1))] ?? NaN).toFixed(3);
  return `${at(0.5)} (${at(0.25)} to ${at(0.75)})`;
}
