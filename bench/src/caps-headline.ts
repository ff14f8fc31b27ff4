/**
 * The headline: one developer, a cap of $5.00, 200 requests at the same time, at this gateway and at the reference. Same
 * upstream, same requests. Money is counted by the upstream, not by the gateways.
 *
 *   node bench/src/caps-headline.ts [--cap 5.00] [--requests 200] [--rounds 3] [--out DIRECTORY]
 *
 * Writes caps-headline.json and caps-headline.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CLAUDE_CODE_VERSION, dollars, runHeadline, type HeadlineResult } from '@claude-gateway/e2e';

const { values } = parseArgs({
  options: {
    cap: { type: 'string', default: '5.00' },
    requests: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '3' },
    out: { type: 'string', default: resolve(import.meta.dirname, '../results') },
  },
});
const requests = Number(values.requests);

interface Line extends HeadlineResult {
  readonly replicas: number;
}
const lines: Line[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [program, replicas] of [
    ['reference', 1],
    ['ours', 1],
    ['ours', 4],
  ] as const) {
    const result = await runHeadline({ program, cap: values.cap, requests, replicas });
    lines.push({ ...result, replicas });
    console.error(`${program}, ${replicas}: ${result.admitted} admitted, ${dollars(result.spentNanoUsd)}`);
  }
}

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname })
  .toString()
  .trim();
const date = new Date().toISOString();
const document = { date, commit, reference: `claude gateway ${CLAUDE_CODE_VERSION}`, lines };
const cents = (nanoUsd: bigint): string => dollars(nanoUsd).replace(/0{1,7}$/, '');
const page = [
  `# ${requests} requests at once under a cap of $${values.cap}`,
  '',
  `${date.slice(0, 10)}, commit ${commit}, against ${document.reference}. One developer asks ${requests} times at the same time;`,
  'each answer takes a second, costs 6 cents, and could cost 11. What was spent is what the upstream counted.',
  '',
  '| gateway | replicas | admitted | refused | failed | spent | over the cap |',
  '|---|---:|---:|---:|---:|---:|---:|',
  ...lines.map(
    ({ program, replicas, admitted, refused, failed, spentNanoUsd, overshootNanoUsd }) =>
      `| ${program} | ${replicas} | ${admitted} | ${refused} | ${failed} | ${cents(spentNanoUsd)} | ${cents(overshootNanoUsd)} |`,
  ),
  '',
].join('\n');
mkdirSync(values.out, { recursive: true });
writeFileSync(
  join(values.out, 'caps-headline.json'),
  `${JSON.stringify(document, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value), 1)}\n`,
);
writeFileSync(join(values.out, 'caps-headline.md'), page);
console.log(page);
