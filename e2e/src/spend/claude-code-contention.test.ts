import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { claudeCodeBinary } from '../testbed/claude-code.ts';
import { startAgentsUpstream, type AgentsUpstream } from './agents-upstream.ts';
import { quietTimeZone, usd, type Developer } from './caps.ts';
import { startFleet, type Fleet } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { dollars } from './prices.ts';

/** Before so much of a limit is spent nobody is refused, in percent. */
const USABLE_PERCENT = 90n;
/** More than that are never needed. */
const MOST_RUNS = 12;

/** Each with a limit of their own, and answers as long as such a limit is used up in some runs. */
const DEVELOPERS = [
  { sub: 'five', cap: usd('5.00'), output: 500 },
  { sub: 'twenty', cap: usd('20.00'), output: 12_000 },
  { sub: 'fifty', cap: usd('50.00'), output: 30_000 },
] as const;

interface Blocked {
  readonly cause: string;
  readonly spent: bigint;
  readonly cap: bigint;
}

describe('Claude Code with subagents that search the web, at two replicas', () => {
  let upstream: AgentsUpstream;
  let fleet: Fleet;
  let observer: LedgerObserver;
  const homes: string[] = [];

  beforeAll(async () => {
    upstream = await startAgentsUpstream(
      (body) => DEVELOPERS.find(({ sub }) => body.includes(`limit-of-${sub}`))?.output ?? 500,
    );
    fleet = await startFleet({ replicas: 2, upstreamUrl: upstream.url });
    observer = new LedgerObserver(fleet.databaseUrl);
    await observer.install(
      DEVELOPERS.map(({ sub, cap }) => ({
        ...({ subjectKind: 'user', subject: sub, unit: 'nano_usd', period: 'daily', amount: cap } as const),
      })),
    );
    for (const { sub, cap } of DEVELOPERS) {
      await fleet.admin.set({
        ...{ scope: { type: 'user', user: sub }, period: 'daily', unit: 'nano_usd', amount: cap },
        timeZone: quietTimeZone(),
      });
    }
    await sleep(3_000);
  }, 120_000);

  afterAll(async () => {
    await fleet?.stop();
    await upstream?.stop();
    for (const home of homes) rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }, 60_000);

  /** `claude -p`, as it is, with nothing but where the gateway is and who asks. @returns whether it ended well. */
  async function work(developer: Developer, run: number): Promise<boolean> {
    const home = mkdtempSync(join(tmpdir(), 'claude-home-'));
    homes.push(home);
    // Its path is part of the prompt, subagents' included.
    const project = join(home, `limit-of-${developer.sub}`);
    mkdirSync(project);
    const replica = fleet.replicas[run % fleet.replicas.length];
    const child = spawn(
      claudeCodeBinary(),
      [
        ...['-p', 'look at the weather in four places', '--output-format', 'json'],
        ...['--model', 'claude-opus-4-8', '--allowedTools', 'Agent,WebSearch'],
      ],
      {
        cwd: project,
        env: {
          PATH: process.env['PATH'],
          HOME: home,
          LANG: 'C.UTF-8',
          DISABLE_AUTOUPDATER: '1',
          ANTHROPIC_BASE_URL: replica?.url,
          ANTHROPIC_AUTH_TOKEN: fleet.bearer(developer),
        },
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 120_000,
      },
    );
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    await new Promise((done) => child.once('close', done));
    try {
      return !(JSON.parse(stdout) as { is_error: boolean }).is_error;
    } catch {
      return false;
    }
  }

  function blockedOf({ sub }: Developer): Blocked[] {
    return fleet.replicas.flatMap(({ process: gateway }) =>
      gateway.audit('spend.blocked').flatMap((event) =>
        event['sub'] === sub
          ? [
              {
                cause: String(event['cause']),
                spent: BigInt(event['spent'] as string),
                cap: BigInt(event['cap'] as string),
              },
            ]
          : [],
      ),
    );
  }

  async function spentBy({ sub }: Developer): Promise<bigint> {
    const windows = await observer.windows();
    return windows.find(({ subject }) => subject === sub)?.spent ?? 0n;
  }

  it('refuses nothing before 90 percent of $5, $20 and $50 a day are spent, and nothing beyond', async () => {
    await Promise.all(
      DEVELOPERS.map(async ({ sub, cap }) => {
        const developer: Developer = { sub, groups: [] };
        let runs = 0;
        let spent = 0n;
        for (; runs < MOST_RUNS && spent * 100n < cap * USABLE_PERCENT; runs++) {
          const ended = await work(developer, runs);
          await sleep(500);
          spent = await spentBy(developer);
          if (spent * 100n < cap * USABLE_PERCENT)
            expect({ sub, runs, ended }).toEqual({ sub, runs, ended: true });
        }
        const blocked = blockedOf(developer);
        const final = blocked.filter(({ cause }) => cause !== 'held');
        console.log(
          `${dollars(cap)}: ${runs} runs, ${dollars(spent)} spent; refused for good ${final.length} times, ` +
            `told to come back ${blocked.length - final.length} times`,
        );
        const early = final.filter((event) => event.spent * 100n < event.cap * USABLE_PERCENT);
        expect({ sub, early }).toEqual({ sub, early: [] });
        expect(spent * 100n).toBeGreaterThanOrEqual(cap * USABLE_PERCENT);
        expect(spent).toBeLessThanOrEqual(cap);
      }),
    );
    // They did come at once, and did search.
    expect(upstream.mostAtOnce).toBeGreaterThanOrEqual(4);
    expect(upstream.searches).toBeGreaterThan(10);
    expect(await observer.untilQuiet(40_000)).toEqual([]);
    expect(await observer.violations()).toEqual([]);
    expect(await disagreements(observer)).toEqual([]);
  }, 300_000);
});
