import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { quietTimeZone, usd, type Developer } from './caps.ts';
import { Client } from './client.ts';
import { startFleet, type Fleet, type Replica } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { markerOf, startMeteredUpstream, type AnswerPlan, type MeteredUpstream } from './metered-upstream.ts';
import { dollars } from './prices.ts';

/** What Claude Code asks for in every request. */
const MAX_TOKENS = 32_000;
/** Of its first request: system prompt, tools, and what somebody typed. */
const FIRST_BODY = 60_000;
/** What a turn adds to the conversation: a file that was read, an answer. */
const GROWTH = 4_000;
const OUTPUT = 500;
const CAP = usd('2.00');
const BYTES_PER_TOKEN = 4;
/** At which an answer is of no use any more: enforcement.min_output_tokens. */
const LEAST_OUTPUT = 1024n;
/** claude-opus-4-8, in nano-USD per token. */
const CACHE_WRITE_RATE = 6_250n;
const OUTPUT_RATE = 25_000n;

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
  let index = 0;
  /** Talks until it is refused. @returns how many turns that were, and how many tokens the last request had. */
  const converse = async (name: string): Promise<{ turns: number; tokens: number }> => {
    const conversation: object[] = [];
    let known = 0;
    for (let turns = 0; turns < 200; turns++, index++) {
      const text = `turn ${turns} of ${name} ${'y'.repeat(turns === 0 ? FIRST_BODY : GROWTH)}`;
      conversation.push({
        role: 'user',
        content: [{ type: 'text', text, cache_control: { type: 'ephemeral' } }],
      });
      const body = Buffer.from(
        JSON.stringify({
          model: 'claude-opus-4-8',
          max_tokens: MAX_TOKENS,
          stream: true,
          messages: conversation,
          // Counting leaves out what is no part of the prompt, so the number has to be in one.
          system: [{ type: 'text', text: markerOf(index) }],
        }),
      );
      const total = Math.floor(body.length / BYTES_PER_TOKEN);
      plans.set(index, {
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
      const replica = fleet.replicas[turns % 2] as Replica;
      const got = await client.send(replica.url, bearer, body, { session: `session-${name}` });
      if (got.status === 429) return { turns, tokens: total };
      expect({ status: got.status, body: got.status === 200 ? '' : got.body }).toEqual({
        status: 200,
        body: '',
      });
      known = total;
      conversation.push({ role: 'assistant', content: `answer ${turns}` });
    }
    throw new Error('it goes on for ever');
  };
  /** What has to be left for the input of a request and for an answer that is of any use. */
  const least = (tokens: number): bigint =>
    (BigInt(Math.ceil(tokens * 1.05)) + 512n) * CACHE_WRITE_RATE + LEAST_OUTPUT * OUTPUT_RATE;
  const left = async (): Promise<bigint> => {
    expect(await observer.untilQuiet(40_000)).toEqual([]);
    const [window] = await observer.windows();
    return CAP - (window?.spent ?? 0n);
  };

  // The cap is small: the first request alone could cost $1.19.
  const long = await converse('first');
  const afterLong = await left();
  expect(long.turns).toBeGreaterThan(10);
  expect(afterLong).toBeLessThan(least(long.tokens));
  // Who begins again with a short conversation can spend almost all of it.
  let conversations = 1;
  let turns = long.turns;
  for (;;) {
    const short = await converse(`${++conversations}`);
    turns += short.turns;
    if (short.turns === 0) {
      expect(await left()).toBeLessThan(least(short.tokens));
      break;
    }
  }
  console.log(
    `$2.00: ${long.turns} turns in the first conversation, ${dollars(afterLong)} left; ${turns} turns in ` +
      `${conversations - 1} conversations, ${dollars(await left())} left; ${upstream.countTokensCalls} counts`,
  );
  expect(await left()).toBeGreaterThanOrEqual(0n);
  expect(await observer.violations()).toEqual([]);
  expect(await disagreements(observer)).toEqual([]);
}, 120_000);
