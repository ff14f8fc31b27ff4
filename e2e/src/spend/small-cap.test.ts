import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { quietTimeZone, usd, type Developer } from './caps.ts';
import { Client } from './client.ts';
import { startFleet, type Fleet } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { markerOf, startMeteredUpstream, type AnswerPlan, type MeteredUpstream } from './metered-upstream.ts';

/** What Claude Code asks for in every request. */
const MAX_TOKENS = 32_000;
/** Of its first request. */
const FIRST_BODY = 60_000;
/** What a turn adds to the conversation: a file that was read, an answer. */
const GROWTH = 4_000;
const OUTPUT = 500;
const CAP = usd('2.00');
const BYTES_PER_TOKEN = 4;

const plans = new Map<number, AnswerPlan>();
let upstream: MeteredUpstream;
let fleet: Fleet;
const client = new Client();
beforeAll(async () => {
  upstream = await startMeteredUpstream({ plan: (index) => plans.get(index) as AnswerPlan });
  fleet = await startFleet({ replicas: 2, upstreamUrl: upstream.url });
}, 120_000);
afterAll(async () => {
  client.close();
  await fleet?.stop();
  await upstream?.stop();
});

it('a cap of $2 a day is usable down to its last cents, by a conversation that grows', async () => {
  const developer: Developer = { sub: 'alice', groups: [] };
  const observer = new LedgerObserver(fleet.databaseUrl);
  await observer.install([
    { subjectKind: 'user', subject: 'alice', unit: 'nano_usd', period: 'daily', amount: CAP },
  ]);
  await fleet.admin.set({
    scope: { type: 'user', user: 'alice' },
    period: 'daily',
    unit: 'nano_usd',
    amount: CAP,
    timeZone: quietTimeZone(),
  });
  await sleep(3_000);
  const bearer = fleet.bearer(developer);
  // At $5 and $25 for a million tokens, the byte bound of the first turn is $0.38 and its output $0.80.
  const conversation: object[] = [];
  let known = 0;
  let turns = 0;
  for (; turns < 200; turns++) {
    conversation.push({
      role: 'user',
      content: [
        {
          type: 'text',
          text: `turn ${turns} ${'y'.repeat(turns === 0 ? FIRST_BODY : GROWTH)}`,
          cache_control: { type: 'ephemeral' },
        },
      ],
    });
    const body = Buffer.from(
      JSON.stringify({
        model: 'claude-opus-4-8',
        max_tokens: MAX_TOKENS,
        stream: true,
        metadata: { user_id: markerOf(turns) },
        messages: conversation,
      }).replace('turn 0', `turn 0 ${markerOf(turns)}`),
    );
    const total = Math.floor(body.length / BYTES_PER_TOKEN);
    plans.set(turns, {
      tokens: {
        input: 10,
        output: OUTPUT,
        cacheRead: known,
        cacheWrite5m: total - known - 10,
        cacheWrite1h: 0,
        webSearches: 0,
      },
      delayMs: 0,
      streamMs: 20,
      pieces: 4,
    });
    const got = await client.send(fleet.replicas[turns % 2]?.url ?? '', bearer, body);
    if (got.status === 429) break;
    expect({ status: got.status, body: got.status === 200 ? '' : got.body }).toEqual({
      status: 200,
      body: '',
    });
    known = total;
    conversation.push({ role: 'assistant', content: `answer ${turns}` });
  }
  expect(await observer.untilQuiet(20_000)).toEqual([]);
  const [window] = await observer.windows();
  const left = CAP - (window?.spent ?? 0n);
  console.log(`${turns} turns; ${Number(left) / 1e9} dollars left; ${upstream.countTokensCalls} counts`);
  expect(left).toBeGreaterThanOrEqual(0n);
  expect(left).toBeLessThan(usd('0.10'));
  expect(await observer.violations()).toEqual([]);
  expect(await disagreements(observer)).toEqual([]);
}, 120_000);
