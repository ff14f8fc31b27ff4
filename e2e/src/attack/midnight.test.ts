import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { usd } from '../spend/caps.ts';
import { Random } from '../spend/random.ts';
import { billedIn, bodyWith, CHEAP, DEAR, startBed, statuses, type Account, type Bed } from './bed.ts';

const CAP = '0.30';
const MIDNIGHTS = ['2027-03-02T00:00:00Z', '2027-03-03T00:00:00Z', '2027-03-04T00:00:00Z'];
const ROOM_MS = 2_000;
const LIARS_AT_A_TIME = 12;
const SUB = 'night owl';

const directory = mkdtempSync(join(tmpdir(), 'attack-midnight-'));
const clockFile = join(directory, 'offset');
let offset = 0;
/** Says what time it is for every gateway, from now on. */
function setClock(time: number): void {
  offset = time - Date.now();
  writeFileSync(clockFile, String(offset));
}

let bed: Bed;
beforeAll(async () => {
  setClock(Date.parse('2027-03-01T12:00:00Z'));
  bed = await startBed({
    replicas: 2,
    caps: { [SUB]: CAP },
    timeZone: 'UTC',
    now: () => Date.now() + offset,
    config: { enforcement: { max_wait_ms: 500 } },
    fleet: { clockFile },
  });
}, 120_000);
afterAll(async () => {
  await bed?.stop();
  rmSync(directory, { recursive: true });
});

it('no day has more than its limit, whoever times the boundary', async () => {
  const random = new Random(12);
  const accounts: Account[] = [];
  for (const midnight of MIDNIGHTS.map((time) => Date.parse(time))) {
    setClock(midnight - ROOM_MS);
    await Promise.all(
      Array.from({ length: LIARS_AT_A_TIME }, async (_, replica) => {
        while (Date.now() + offset < midnight + ROOM_MS) {
          // Some begin in one day and end in the next, with or without their client.
          const late = random.chance(0.4);
          const body = bodyWith({ max_tokens: 3_000 }, random.pick([CHEAP, DEAR]));
          const conduct = { output: random.int(100, 3_000), delayMs: late ? random.int(100, ROOM_MS) : 0 };
          const options = {
            replica: replica % 2,
            ...(random.chance(0.3) ? { abortAfterMs: random.int(5, 300) } : {}),
          };
          accounts.push(await bed.ask(SUB, body, conduct, options));
          await sleep(20);
        }
      }),
    );
  }
  expect(await bed.observer.untilQuiet(60_000)).toEqual([]);
  const counts = statuses(accounts);
  expect(counts['200']).toBeGreaterThan(0);
  expect(counts['429']).toBeGreaterThan(0);
  expect(Object.keys(counts).filter((status) => !['0', '200', '429'].includes(status))).toEqual([]);

  const records = await bed.recorded(SUB);
  const days = new Map<string, bigint>();
  for (const { admittedAt, cost } of records) {
    const day = admittedAt.toISOString().slice(0, 10);
    days.set(day, (days.get(day) ?? 0n) + cost);
  }
  expect(days.size).toBe(MIDNIGHTS.length + 1);
  // What the records of a day sum up to is what its window has, and no more than the limit.
  const windows = (await bed.observer.windows()).filter(({ subject }) => subject === SUB);
  expect(new Map(windows.map(({ startsAt, spent }) => [startsAt.toISOString().slice(0, 10), spent]))).toEqual(
    days,
  );
  for (const spent of days.values()) expect(spent).toBeLessThanOrEqual(usd(CAP));
  expect([...days.values()].reduce((a, b) => a + b, 0n)).toBeGreaterThanOrEqual(billedIn(accounts));
  expect(await bed.observer.violations()).toEqual([]);
}, 120_000);
