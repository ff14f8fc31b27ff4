import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { usd } from '../spend/caps.ts';
import { billedIn, bodyWith, DEAR, startBed, statuses, type Account, type Bed } from './bed.ts';

const CAP = '1.00';
/** What all of a flood cost together, should it be answered; each holds a sixth of it. */
const FLOOD_CAP = '6.00';
/** As long as somebody waits for what others hold. */
const MAX_WAIT_MS = 4_000;

let bed: Bed;
beforeAll(async () => {
  bed = await startBed({
    replicas: 2,
    caps: { patient: CAP, hog: CAP, greedy: FLOOD_CAP },
    config: { enforcement: { max_wait_ms: MAX_WAIT_MS } },
  });
}, 120_000);
afterAll(() => bed?.stop());

/** Asks for much more than its answer takes: what is held is many times what is spent. */
const HUGE = bodyWith(
  { max_tokens: 32_000, messages: [{ role: 'user', content: `# ${'y'.repeat(40_000)}` }] },
  DEAR,
);

it('what others only hold is waited for, and ends nobody', async () => {
  const accounts = await Promise.all(
    Array.from({ length: 8 }, (_, at) =>
      bed.ask('patient', HUGE, { output: 40, delayMs: 200 }, { replica: at % 2 }),
    ),
  );
  expect(finalRefusals(accounts)).toEqual([]);
  expect(statuses(accounts)['200'] ?? 0).toBeGreaterThan(2);
  expect(await bed.charged('patient')).toBe(billedIn(accounts));
  expect(billedIn(accounts)).toBeLessThanOrEqual(usd(CAP));
}, 60_000);

it('whoever waits too long is told to come back in seconds, in words that say so', async () => {
  const slow = { output: 40, delayMs: 3 * MAX_WAIT_MS };
  const holding = Array.from({ length: 6 }, () => bed.ask('hog', HUGE, slow));
  const asking = Array.from({ length: 4 }, (_, at) =>
    bed.ask('hog', HUGE, { output: 40 }, { replica: at % 2 }),
  );
  const accounts = await Promise.all([...holding, ...asking]);
  const busy = accounts.filter(({ got }) => got.status === 429);
  expect(busy.length).toBeGreaterThan(0);
  for (const { got } of busy) {
    expect(got.body).toContain('held by requests in flight');
    expect(got.headers['x-should-retry']).toBe('true');
    expect(Number(got.headers['retry-after'])).toBeLessThanOrEqual(60);
  }
  expect(await bed.charged('hog')).toBe(billedIn(accounts));
}, 90_000);

it('a flood that hangs up while it waits holds nothing, and takes nobody a place', async () => {
  const slow = { output: 40, delayMs: 1_500 };
  const first = [bed.ask('greedy', HUGE, slow), bed.ask('greedy', HUGE, slow)];
  const impatient = await Promise.all(
    Array.from({ length: 60 }, (_, at) =>
      bed.ask('greedy', HUGE, { output: 40 }, { abortAfterMs: 50 + at, replica: at % 2 }),
    ),
  );
  // On a slow machine it may be told to come back, as Claude Code then does.
  let honest = await bed.ask('greedy', bodyWith({ max_tokens: 200 }), { output: 40 });
  for (
    let again = 0;
    again < 5 && finalRefusals([honest]).length === 0 && honest.got.status === 429;
    again++
  ) {
    honest = await bed.ask('greedy', bodyWith({ max_tokens: 200 }), { output: 40 });
  }
  expect({ status: honest.got.status, refused: finalRefusals([honest]) }).toEqual({
    status: 200,
    refused: [],
  });
  const accounts = [...(await Promise.all(first)), ...impatient, honest];
  expect(await bed.observer.untilQuiet(30_000)).toEqual([]);
  const charged = await bed.charged('greedy');
  expect(charged).toBeGreaterThanOrEqual(billedIn(accounts));
  expect(charged).toBeLessThanOrEqual(usd(FLOOD_CAP));
  expect(await bed.observer.violations()).toEqual([]);
}, 60_000);

/** Those that end a session while little is spent. */
function finalRefusals(accounts: readonly Account[]): string[] {
  return accounts
    .filter(({ got }) => got.status === 429 && got.headers['x-should-retry'] !== 'true')
    .map(({ got }) => got.body);
}
