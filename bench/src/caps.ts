/**
 * What exactness costs: the same load with caps off and on, side by side, in alternating runs.
 *
 *   node bench/src/caps.ts [--rounds 5] [--seconds 3] [--replicas 1,2,4] [--only ours] [--out DIRECTORY]
 *
 * Writes caps.json (everything) and caps.md (medians). The reference is the Claude Code program: see CLAUDE_CODE_BIN.
 */
import { execFile, execFileSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { CLAUDE_CODE_VERSION } from '@claude-gateway/e2e';
import { startMeasuredPostgres, type MeasuredPostgres } from './caps-database.ts';
import {
  capsToMarkdown,
  PEOPLE,
  type CapsResult,
  type CapsRound,
  type CapsRun,
  type CapsScenario,
} from './caps-report.ts';
import { MANY_USERS, startContest, VARIANTS, type Contestant } from './caps-systems.ts';
import type { LoadOptions, LoadResult } from './load.ts';
import { cpuSeconds, describeMachine, pin } from './process-stats.ts';
import { LOAD_CPU, startUpstream } from './systems.ts';

const BODY_BYTES = 500;
const WARM_UP_MS = 500;
/** So many requests a second at least: by then a replica has seen everybody once. */
const SLOWEST = 700;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    replicas: { type: 'string', default: '1,2,4' },
    only: { type: 'string', default: '' },
    out: { type: 'string', default: resolve(import.meta.dirname, '../results') },
  },
});
const rounds = Number(values.rounds);
const secondsPerRun = Number(values.seconds);

/** Who sends the requests: one person, many who have been here before, or people who are here for the first time. */
const SCENARIOS = (['one', 'many', 'new'] as const).flatMap((who) =>
  [1, 64].map((connections): CapsScenario => ({ who, connections })),
);
/** A gateway is hardly ever without any request for as long as the others of a round take. */
const TRICKLE_EVERY_MS = 5_000;

const machine = describeMachine();
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname })
  .toString()
  .trim();
const children: ChildProcess[] = [];
const postgres = await startMeasuredPostgres(LOAD_CPU);
const results: CapsResult[] = [];
let pinned = postgres.pinned;
try {
  const upstream = await startUpstream(children);
  pinned &&= pin(upstream.pid, LOAD_CPU);
  for (const replicas of values.replicas.split(',').map(Number)) {
    // The reference is measured with one replica: it holds nothing that replicas would have to share.
    const variants = VARIANTS.filter(
      (variant) => variant.startsWith(values.only) && (replicas === 1 || variant.startsWith('ours')),
    );
    const contest = await startContest({ replicas, variants, postgres, upstream });
    pinned &&= contest.pinned;
    const trickle = setInterval(() => contest.contestants.forEach(touch), TRICKLE_EVERY_MS);
    try {
      for (const contestant of contest.contestants) {
        for (const port of contestant.ports) {
          const replica = { ...contestant, ports: [port] };
          await load(replica, { who: 'one', connections: 16 }, 3_000);
          await load(replica, { who: 'many', connections: 64 }, (MANY_USERS / SLOWEST) * 1000);
        }
      }
      for (const scenario of SCENARIOS) {
        const done: CapsRound[] = [];
        for (let round = 0; round < rounds; round++) {
          const runs: CapsRound = {};
          const order = round % 2 === 0 ? contest.contestants : contest.contestants.toReversed();
          for (const contestant of order) {
            runs[contestant.variant] = await measure(postgres, contestant, scenario);
          }
          done.push(runs);
        }
        const result: CapsResult = { replicas, ...scenario, rounds: done };
        results.push(result);
        console.error(summary(result));
      }
    } finally {
      clearInterval(trickle);
      await contest.stop();
    }
  }
} finally {
  for (const child of children) child.kill('SIGKILL');
  await postgres.stop();
}

const measurement = {
  date: new Date().toISOString(),
  commit,
  reference: `claude gateway ${CLAUDE_CODE_VERSION}`,
  machine,
  pinned,
  secondsPerRun,
  results,
};
mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, 'caps.json'), `${JSON.stringify(measurement, null, 1)}\n`);
writeFileSync(join(values.out, 'caps.md'), capsToMarkdown(measurement));
console.log(capsToMarkdown(measurement));

async function measure(
  database: MeasuredPostgres,
  contestant: Contestant,
  scenario: CapsScenario,
): Promise<CapsRun> {
  const cpuOf = (): number => contestant.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = await database.work(contestant.databaseUrl);
  const cpuBefore = cpuOf();
  const result = await load(contestant, scenario, secondsPerRun * 1000);
  const cpu = cpuOf() - cpuBefore;
  const after = await database.work(contestant.databaseUrl);
  // Counters cover the warm-up too, and so do the requests, in proportion.
  const all = (result.requests * (WARM_UP_MS + secondsPerRun * 1000)) / (secondsPerRun * 1000);
  return {
    ...result,
    cpuMsPerRequest: (cpu / all) * 1000,
    postgresCpuMsPerRequest: ((after.cpuSeconds - before.cpuSeconds) / all) * 1000,
    statementsPerRequest: (after.statements - before.statements) / all,
    transactionsPerRequest: (after.transactions - before.transactions) / all,
  };
}

async function load(
  { ports, bearer, bearersFile, newBearersFile }: Contestant,
  { who, connections }: CapsScenario,
  measureMs: number,
): Promise<LoadResult> {
  const options: LoadOptions = {
    port: ports[0] ?? 0,
    ports,
    bearer,
    ...(who === 'many' && { bearersFile }),
    ...(who === 'new' && { bearersFile: newBearersFile() }),
    connections,
    bodyBytes: BODY_BYTES,
    warmUpMs: WARM_UP_MS,
    measureMs,
  };
  const command = [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)];
  const { stdout } = pinned
    ? await promisify(execFile)('taskset', ['-c', String(LOAD_CPU), process.execPath, ...command])
    : await promisify(execFile)(process.execPath, command);
  return JSON.parse(stdout) as LoadResult;
}

/** One request to each gateway; nobody waits for it. */
function touch({ ports, bearer }: Contestant): void {
  for (const port of ports) {
    fetch(`http://127.0.0.1:${port}/v1/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'claude-opus-4-8',
        max_tokens: 16,
        messages: [{ role: 'user', content: 'hello' }],
      }),
    }).then(
      (response) => response.arrayBuffer(),
      // It may be stopping; the measured requests tell of errors.
      () => undefined,
    );
  }
}

function summary({ replicas, who, connections, rounds: each }: CapsResult): string {
  const lines = VARIANTS.filter((variant) => each[0]?.[variant] !== undefined).map(
    (variant) =>
      `${variant} ${each.map((round) => round[variant]?.requestsPerSecond.toFixed(0)).join(' ')}` +
      ` (${each[0]?.[variant]?.statementsPerRequest.toFixed(3)} statements each)`,
  );
  return `${replicas} replicas, ${PEOPLE[who]}, ${connections} connections: ${lines.join(' | ')}`;
}
