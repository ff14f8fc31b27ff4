/**
 * Measures this gateway beside the reference: same upstream, same requests, same CPU, in alternating runs.
 *
 *   node bench/src/compare.ts [--rounds 5] [--seconds 3] [--only "small,"] [--connections 1] [--out DIRECTORY]
 *                             [--against CHECKOUT] [--name comparison]
 *
 * Writes NAME.json (everything) and NAME.md (medians). The reference is the Claude Code program: see CLAUDE_CODE_BIN; or, to
 * see what a change costs, this gateway as it is in another checkout whose dependencies are installed.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { CLAUDE_CODE_VERSION } from '@claude-gateway/e2e';
import type { LoadOptions, LoadResult } from './load.ts';
import { cpuSeconds, describeMachine, residentBytes } from './process-stats.ts';
import { toMarkdown, type Comparison, type Round, type Run, type ScenarioResult } from './report.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { LOAD_CPU, startSystems, type System, type Systems } from './systems.ts';

const WARM_UP_MS = 500;
const WARM_UP_CONNECTIONS = 16;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    connections: { type: 'string' },
    against: { type: 'string' },
    name: { type: 'string', default: 'comparison' },
    out: { type: 'string', default: resolve(import.meta.dirname, '../results') },
  },
});
const rounds = Number(values.rounds);
const secondsPerRun = Number(values.seconds);
const scenarios = SCENARIOS.filter(
  ({ name, connections }) =>
    name.startsWith(values.only) &&
    (values.connections === undefined || connections === Number(values.connections)),
);

const machine = describeMachine();
const commitOf = (cwd: string): string =>
  execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd }).toString().trim();
const commit = commitOf(import.meta.dirname);
const against = values.against === undefined ? undefined : resolve(values.against);
const systems = await startSystems(against);
const results: ScenarioResult[] = [];
try {
  // Compilers need a while: both programs have seen thousands of every kind of request before anything counts.
  for (const scenario of scenarios.filter(({ connections }) => connections === WARM_UP_CONNECTIONS)) {
    for (const name of ['direct', 'reference', 'ours'] as const) {
      await load(systems[name], systems, scenario, name === 'direct' ? 500 : 4000);
    }
  }
  for (const scenario of scenarios) {
    const done: Round[] = [];
    for (let round = 0; round < rounds; round++) done.push(await playRound(systems, scenario, round));
    const result = { scenario, rounds: done };
    results.push(result);
    console.error(summary(result));
  }
} finally {
  await systems.stop();
}

const comparison: Comparison = {
  date: new Date().toISOString(),
  commit,
  reference:
    against === undefined
      ? `claude gateway ${CLAUDE_CODE_VERSION}`
      : `this gateway at commit ${commitOf(against)}`,
  machine,
  pinned: systems.pinned,
  secondsPerRun,
  results,
};
mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, `${values.name}.json`), `${JSON.stringify(comparison, null, 1)}\n`);
writeFileSync(join(values.out, `${values.name}.md`), toMarkdown(comparison));
console.log(toMarkdown(comparison));

async function playRound(systems: Systems, scenario: Scenario, round: number): Promise<Round> {
  const order = ['direct', 'reference', 'ours'] as const;
  const runs: Partial<Record<(typeof order)[number], Run>> = {};
  for (const name of round % 2 === 0 ? order : order.toReversed()) {
    runs[name] = await load(systems[name], systems, scenario, secondsPerRun * 1000);
  }
  return runs as Round;
}

/** One run. The CPU of its warm-up counts, and so do the warm-up's requests, in proportion. */
async function load(system: System, all: Systems, scenario: Scenario, measureMs: number): Promise<Run> {
  const options: LoadOptions = {
    port: system.port,
    bearer: system.bearer,
    connections: scenario.connections,
    bodyBytes: scenario.bodyBytes,
    ...(scenario.deltas === undefined ? {} : { deltas: scenario.deltas }),
    warmUpMs: WARM_UP_MS,
    measureMs,
  };
  const before = cpuSeconds(system.pid);
  const command = [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)];
  const { stdout } = all.pinned
    ? await promisify(execFile)('taskset', ['-c', String(LOAD_CPU), process.execPath, ...command])
    : await promisify(execFile)(process.execPath, command);
  const result = JSON.parse(stdout) as LoadResult;
  const cpu = cpuSeconds(system.pid) - before;
  const allRequests = (result.requests * (WARM_UP_MS + measureMs)) / measureMs;
  return {
    ...result,
    cpuSecondsPerThousand: system.name === 'direct' ? 0 : (cpu / allRequests) * 1000,
    residentBytes: residentBytes(system.pid),
  };
}

function summary({ scenario, rounds: each }: ScenarioResult): string {
  const line = (['direct', 'reference', 'ours'] as const).map(
    (name) => `${name} ${each.map((round) => round[name].requestsPerSecond.toFixed(0)).join(' ')}`,
  );
  return `${scenario.name}, ${scenario.connections}: ${line.join(' | ')} requests/s`;
}
