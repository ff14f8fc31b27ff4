import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { usd, type Cap, type Developer } from './caps.ts';
import { Client } from './client.ts';
import { startFleet, type Fleet } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { cheapAsk } from './leftovers.ts';
import { startMeteredUpstream, type AnswerPlan, type MeteredUpstream } from './metered-upstream.ts';

const directory = mkdtempSync(join(tmpdir(), 'midnight-'));
const clockFile = join(directory, 'offset');
/** Says what time it is for every gateway, from now on. */
function setClock(time: string): void {
  writeFileSync(clockFile, String(Date.parse(time) - Date.now()));
}

/** Each request costs a cent: 9,995 tokens of input at $1 for a million, and one of output at $5. */
const CENT: AnswerPlan = {
  tokens: { input: 9_995, output: 1, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, webSearches: 0 },
  delayMs: 0,
  streamMs: 0,
  pieces: 1,
};
let delayMs = 0;
let upstream: MeteredUpstream;
let fleet: Fleet;
let observer: LedgerObserver;
const client = new Client();
beforeAll(async () => {
  setClock('2027-03-27T12:00:00Z');
  upstream = await startMeteredUpstream({ plan: () => ({ ...CENT, delayMs }) });
  fleet = await startFleet({ replicas: 2, upstreamUrl: upstream.url, clockFile });
  observer = new LedgerObserver(fleet.databaseUrl);
}, 120_000);
afterEach(() => {
  delayMs = 0;
});
afterAll(async () => {
  client.close();
  await fleet?.stop();
  await upstream?.stop();
  rmSync(directory, { recursive: true });
});

let index = 0;
async function ask(developer: Developer, time: string, replica = 0): Promise<number> {
  const bearer = fleet.bearer(developer, Date.parse(time));
  const got = await client.ask(fleet.replicas[replica]?.url ?? '', bearer, cheapAsk(index++, 10_000, 1));
  return got.status;
}

async function windowsOf(sub: string): Promise<{ startsAt: string; endsAt: string; spent: bigint }[]> {
  return (await observer.windows())
    .filter(({ subject }) => subject === sub)
    .map(({ startsAt, endsAt, spent }) => ({
      startsAt: startsAt.toISOString(),
      endsAt: endsAt.toISOString(),
      spent,
    }))
    .toSorted((a, b) => a.startsAt.localeCompare(b.startsAt) || a.endsAt.localeCompare(b.endsAt));
}

const CASES: {
  name: string;
  period: Cap['period'];
  timeZone?: string;
  before: string;
  after: string;
  windows: [[string, string], [string, string]];
}[] = [
  {
    name: 'a day in UTC',
    period: 'daily',
    before: '2027-03-27T23:59:58.000Z',
    after: '2027-03-28T00:00:01.000Z',
    windows: [
      ['2027-03-27T00:00:00.000Z', '2027-03-28T00:00:00.000Z'],
      ['2027-03-28T00:00:00.000Z', '2027-03-29T00:00:00.000Z'],
    ],
  },
  {
    name: 'a day of 23 hours: Berlin goes to summer time',
    period: 'daily',
    timeZone: 'Europe/Berlin',
    before: '2027-03-28T21:59:58.000Z',
    after: '2027-03-28T22:00:01.000Z',
    windows: [
      ['2027-03-27T23:00:00.000Z', '2027-03-28T22:00:00.000Z'],
      ['2027-03-28T22:00:00.000Z', '2027-03-29T22:00:00.000Z'],
    ],
  },
  {
    name: 'a day of 25 hours: Berlin goes back',
    period: 'daily',
    timeZone: 'Europe/Berlin',
    before: '2027-10-31T22:59:58.000Z',
    after: '2027-10-31T23:00:01.000Z',
    windows: [
      ['2027-10-30T22:00:00.000Z', '2027-10-31T23:00:00.000Z'],
      ['2027-10-31T23:00:00.000Z', '2027-11-01T23:00:00.000Z'],
    ],
  },
  {
    name: 'a week, from Monday on',
    period: 'weekly',
    before: '2027-11-07T23:59:58.000Z',
    after: '2027-11-08T00:00:01.000Z',
    windows: [
      ['2027-11-01T00:00:00.000Z', '2027-11-08T00:00:00.000Z'],
      ['2027-11-08T00:00:00.000Z', '2027-11-15T00:00:00.000Z'],
    ],
  },
  {
    name: 'a month',
    period: 'monthly',
    timeZone: 'America/New_York',
    before: '2027-12-01T04:59:58.000Z',
    after: '2027-12-01T05:00:01.000Z',
    windows: [
      ['2027-11-01T04:00:00.000Z', '2027-12-01T05:00:00.000Z'],
      ['2027-12-01T05:00:00.000Z', '2028-01-01T05:00:00.000Z'],
    ],
  },
];

it.each(CASES)(
  'turns over: $name',
  async ({ name, period, timeZone, before, after, windows }) => {
    const developer: Developer = { sub: name, groups: [] };
    // Enough for three requests at a cent each.
    await fleet.admin.set({
      scope: { type: 'user', user: name },
      period,
      unit: 'nano_usd',
      amount: usd('0.03'),
      whenShort: 'refuse',
      ...(timeZone === undefined ? {} : { timeZone }),
    });
    await sleep(3_000);
    setClock(before);
    await sleep(100);
    // The byte bound of one is a cent and a bit, so the third one does not fit.
    expect(await ask(developer, before, 0)).toBe(200);
    expect(await ask(developer, before, 1)).toBe(200);
    expect(await ask(developer, before, 0)).toBe(429);
    setClock(after);
    await sleep(100);
    expect(await ask(developer, after, 0)).toBe(200);
    expect(await observer.untilQuiet(40_000)).toEqual([]);
    expect(await windowsOf(name)).toEqual([
      { startsAt: windows[0][0], endsAt: windows[0][1], spent: usd('0.02') },
      { startsAt: windows[1][0], endsAt: windows[1][1], spent: usd('0.01') },
    ]);
    expect(await disagreements(observer)).toEqual([]);
  },
  60_000,
);

it('bills a request that spans midnight to the day that admitted it', async () => {
  const developer: Developer = { sub: 'night owl', groups: [] };
  const before = '2028-02-28T23:59:59.000Z';
  await fleet.admin.set({
    scope: { type: 'user', user: developer.sub },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd('0.02'),
    whenShort: 'refuse',
  });
  await sleep(3_000);
  setClock(before);
  await sleep(100);
  delayMs = 3_000;
  const spanning = ask(developer, before);
  await sleep(1_000);
  delayMs = 0;
  setClock('2028-02-29T00:00:05.000Z');
  await sleep(100);
  // The new day is whole: what the old one holds is not missing here, before it is settled or after.
  expect(await ask(developer, before)).toBe(200);
  expect(await spanning).toBe(200);
  expect(await observer.untilQuiet(40_000)).toEqual([]);
  expect(await windowsOf(developer.sub)).toEqual([
    { startsAt: '2028-02-28T00:00:00.000Z', endsAt: '2028-02-29T00:00:00.000Z', spent: usd('0.01') },
    { startsAt: '2028-02-29T00:00:00.000Z', endsAt: '2028-03-01T00:00:00.000Z', spent: usd('0.01') },
  ]);
  expect(await disagreements(observer)).toEqual([]);
}, 60_000);
