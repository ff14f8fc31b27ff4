import type { LoadResult } from './load.ts';
import type { Machine } from './process-stats.ts';
import type { Scenario } from './scenarios.ts';

/** One run of one system. */
export interface Run extends LoadResult {
  /** CPU time of the gateway for each thousand requests, in seconds; 0 for `direct`. */
  readonly cpuSecondsPerThousand: number;
  readonly residentBytes: number;
}

/** One round: all systems, one after the other, in alternating order. */
export interface Round {
  readonly direct: Run;
  readonly reference: Run;
  readonly ours: Run;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly rounds: readonly Round[];
}

export interface Comparison {
  readonly date: string;
  readonly commit: string;
  readonly reference: string;
  readonly machine: Machine;
  readonly pinned: boolean;
  readonly secondsPerRun: number;
  readonly results: readonly ScenarioResult[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** The comparison as a page for people. Every number is the median over the rounds; ratios are medians of ratios. */
export function toMarkdown(comparison: Comparison): string {
  const { machine, results } = comparison;
  const rounds = results[0]?.rounds.length ?? 0;
  const lines = [
    '# This gateway beside the reference',
    '',
    `${comparison.date.slice(0, 10)}, commit ${comparison.commit}, against ${comparison.reference}.`,
    `${machine.cpus} × ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node.js ${machine.node};`,
    `load average before the start: ${machine.loadBefore}. ${rounds} rounds of ${comparison.secondsPerRun} s for each`,
    'system and line, in alternating order, closed loop.',
    comparison.pinned
      ? 'The gateway under test has one CPU; upstream and load generator share another one.'
      : 'Processes were not kept on CPUs of their own.',
    '',
    'Every number is the median over the rounds, reference → ours. "Added" is the median (99th percentile) of the latency',
    'less that of the same load straight at the upstream. CPU is of the gateway process, in ms for one request; where',
    'others are at work on the machine it is the steadier measure.',
    '',
    '| request | connections | requests/s | ratio | added p50, ms | added p99, ms | CPU, ms | ratio | RSS, MiB | errors |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
  ];
  for (const { scenario, rounds: each } of results) {
    const pair = (pick: (run: Run, direct: Run) => number, digits: number): string =>
      (['reference', 'ours'] as const)
        .map((name) => median(each.map((round) => pick(round[name], round.direct))).toFixed(digits))
        .join(' → ');
    const ratio = median(each.map((r) => r.ours.requestsPerSecond / r.reference.requestsPerSecond));
    const cpuRatio = median(
      each.map((r) => r.reference.cpuSecondsPerThousand / r.ours.cpuSecondsPerThousand),
    );
    const errors = (['reference', 'ours'] as const)
      .map((name) => each.reduce((sum, round) => sum + round[name].errors, 0))
      .join(' → ');
    lines.push(
      `| ${[
        scenario.name,
        scenario.connections,
        pair((run) => run.requestsPerSecond, 0),
        `${ratio.toFixed(1)}×`,
        pair((run, direct) => run.latency.p50 - direct.latency.p50, 2),
        pair((run, direct) => run.latency.p99 - direct.latency.p99, 2),
        pair((run) => run.cpuSecondsPerThousand, 2),
        `${cpuRatio.toFixed(1)}×`,
        pair((run) => run.residentBytes / 2 ** 20, 0),
        errors,
      ].join(' | ')} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}
