import type { LoadResult } from './load.ts';
import type { Machine } from './process-stats.ts';
import { median } from './report.ts';
import { MANY_USERS, type Variant } from './caps-systems.ts';

/** One run of one variant. */
export interface CapsRun extends LoadResult {
  /** Of all its gateways. */
  readonly cpuMsPerRequest: number;
  readonly postgresCpuMsPerRequest: number;
  readonly statementsPerRequest: number;
  readonly transactionsPerRequest: number;
}

/** All variants, one after the other, in alternating order. */
export type CapsRound = Partial<Record<Variant, CapsRun>>;

export interface CapsScenario {
  readonly who: keyof typeof PEOPLE;
  readonly connections: number;
}

/** Who sends the requests, in words for people. */
export const PEOPLE = {
  one: 'one person',
  many: `${MANY_USERS.toLocaleString('en')} people`,
  new: 'new people',
} as const;

export interface CapsResult extends CapsScenario {
  readonly replicas: number;
  readonly rounds: readonly CapsRound[];
}

export interface CapsMeasurement {
  readonly date: string;
  readonly commit: string;
  readonly reference: string;
  readonly machine: Machine;
  readonly pinned: boolean;
  readonly secondsPerRun: number;
  readonly results: readonly CapsResult[];
}

/** The measurement as a page for people. */
export function capsToMarkdown(measurement: CapsMeasurement): string {
  const { machine, results } = measurement;
  const lines = [
    '# What exactness costs',
    '',
    `${measurement.date.slice(0, 10)}, commit ${measurement.commit}, against ${measurement.reference}.`,
    `${machine.cpus} × ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node.js ${machine.node};`,
    `load average before the start: ${machine.loadBefore}. ${results[0]?.rounds.length ?? 0} rounds of`,
    `${measurement.secondsPerRun} s for each variant and line, in alternating order, closed loop, requests of 500 bytes.`,
    measurement.pinned
      ? 'All gateways of a variant share one CPU; PostgreSQL (durable), upstream and load generator share another one.'
      : 'Processes were not kept on CPUs of their own.',
    '',
    'Caps on: a pool of the whole organization and a cap for each member, none of which is ever reached; for the reference',
    'the cap for each member alone, since that is what it has. Caps off: no section `admin`. Every number is the median over',
    'the rounds; ratios are medians of the ratios within a round.',
    '',
    `${PEOPLE.many}: in turn, one for each request, all of whom every replica has served within the last minutes. New people:`,
    'nobody has sent a request before, so each one is the first of its period.',
    '',
    '## Caps on beside caps off',
    '',
    '| replicas | who | connections | requests/s, off → on | on / off | p50, ms | p99, ms | gateway CPU, ms | PostgreSQL CPU, ms | statements | transactions | errors |',
    '|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...rows(results, 'ours, caps off', 'ours, caps on'),
    '',
    '## This gateway beside the reference, caps on',
    '',
    'Reference → ours.',
    '',
    '| replicas | who | connections | requests/s | ours / reference | p50, ms | p99, ms | gateway CPU, ms | PostgreSQL CPU, ms | statements | transactions | errors |',
    '|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...rows(results, 'reference, caps on', 'ours, caps on'),
    '',
    'The reference, caps off → on.',
    '',
    '| replicas | who | connections | requests/s | on / off | p50, ms | p99, ms | gateway CPU, ms | PostgreSQL CPU, ms | statements | transactions | errors |',
    '|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...rows(results, 'reference, caps off', 'reference, caps on'),
  ];
  return `${lines.join('\n')}\n`;
}

function rows(results: readonly CapsResult[], from: Variant, to: Variant): string[] {
  return results
    .filter(({ rounds: [first] }) => first?.[from] !== undefined && first[to] !== undefined)
    .map((result) => row(result, from, to));
}

function row({ replicas, who, connections, rounds }: CapsResult, from: Variant, to: Variant): string {
  const values = (variant: Variant, pick: (run: CapsRun) => number): number[] =>
    rounds.flatMap((round) => (round[variant] === undefined ? [] : [pick(round[variant])]));
  const pair = (pick: (run: CapsRun) => number, digits: number): string =>
    [from, to].map((variant) => median(values(variant, pick)).toFixed(digits)).join(' → ');
  const ratios = rounds.flatMap(({ [from]: a, [to]: b }) =>
    a === undefined || b === undefined ? [] : [b.requestsPerSecond / a.requestsPerSecond],
  );
  const errors = [from, to].map((variant) => values(variant, (run) => run.errors).reduce((a, b) => a + b, 0));
  return `| ${[
    replicas,
    PEOPLE[who],
    connections,
    pair((run) => run.requestsPerSecond, 0),
    median(ratios).toFixed(2),
    pair((run) => run.latency.p50, 2),
    pair((run) => run.latency.p99, 2),
    pair((run) => run.cpuMsPerRequest, 2),
    pair((run) => run.postgresCpuMsPerRequest, 3),
    pair((run) => run.statementsPerRequest, 3),
    pair((run) => run.transactionsPerRequest, 3),
    errors.join(' → '),
  ].join(' | ')} |`;
}
