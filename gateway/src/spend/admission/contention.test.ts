import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ApiError } from '../../http/errors.ts';
import { useStores } from '../../testing/stores.ts';
import { createLearned } from './admission.ts';
import type { Admitted } from './call.ts';
import {
  answer,
  callOf,
  DOLLAR,
  limit,
  somebody,
  spendBed,
  type SpendBed,
  type SpendBedOptions,
} from './testing/bed.ts';

const stores = useStores(2);
const beds: SpendBed[] = [];
afterEach(async () => {
  await Promise.all(beds.splice(0).map(({ ledger }) => ledger.close(2_000)));
});

async function bed(options: Omit<SpendBedOptions, 'store'>, index = 0): Promise<SpendBed> {
  const made = await spendBed({ store: (stores.stores[index] ?? stores.store).ledger, ...options });
  beds.push(made);
  return made;
}

async function outcomeOf(admitted: () => Admitted | Promise<Admitted>): Promise<Admitted | ApiError> {
  try {
    return await admitted();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
}

async function refusal(admitted: () => Admitted | Promise<Admitted>): Promise<ApiError> {
  const outcome = await outcomeOf(admitted);
  if (outcome instanceof ApiError) return outcome;
  throw new Error('expected a refusal');
}

async function admission(admitted: () => Admitted | Promise<Admitted>): Promise<Admitted> {
  const outcome = await outcomeOf(admitted);
  if (outcome instanceof ApiError) throw outcome;
  return outcome;
}

async function somebodyWaits({ ledger }: SpendBed): Promise<void> {
  for (let i = 0; ledger.waiting === 0; i++) {
    if (i > 500) throw new Error('nobody waits');
    await sleep(5);
  }
}

function maxTokensOf({ body }: Admitted): number | undefined {
  return body === undefined ? undefined : (JSON.parse(body.toString()) as { max_tokens: number }).max_tokens;
}

/** nano-USD per token of Opus. */
const OUTPUT = 25_000n;

describe('requests that only others in flight leave no room for', () => {
  it('are all served: eight at once of 150 KB, with 32,000 tokens of output, under a fresh $5 a day', async () => {
    const spend = await bed({
      limits: [limit({ amount: 5n * DOLLAR, period: 'daily', whenShort: 'shrink_output' })],
      count: () => 38_000,
      maxWaitMs: 20_000,
    });
    const principal = somebody();
    const text = 'all work and no play '.repeat(7_150);
    const served = Array.from({ length: 8 }, async () => {
      const call = callOf({ principal, text, maxTokens: 32_000 });
      const admitted = await admission(() => spend.admit(call));
      await sleep(300);
      answer(admitted, { input_tokens: 10, cache_creation_input_tokens: 38_000, output_tokens: 1_200 });
      return maxTokensOf(admitted) ?? 32_000;
    });
    // Nobody's answer was cut for what others only held.
    for (const output of await Promise.all(served)) expect(output).toBeGreaterThanOrEqual(16_384);
    expect(spend.audit).toEqual([]);
  });

  it('are told to come back within seconds where waiting is not enough, without a word of a limit reached', async () => {
    const limits = [limit({ amount: DOLLAR, period: 'daily', whenShort: 'shrink_output' })];
    const blocked: unknown[] = [];
    const spend = await bed({
      limits,
      maxWaitMs: 200,
      overrides: { onBlocked: (cap) => blocked.push(cap) },
    });
    const principal = somebody();
    const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    const error = await refusal(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    expect(error.status).toBe(429);
    expect(error.type).toBe('rate_limit_error');
    expect(error.message).toMatch(
      /^spend limit busy · \$0\.9\d of your daily limit of \$1\.00 is held by requests in flight · try again in a few seconds$/,
    );
    expect(Object.keys(error.headers)).toEqual(['retry-after', 'x-should-retry']);
    expect(error.headers['x-should-retry']).toBe('true');
    expect(Number(error.headers['retry-after'])).toBeGreaterThanOrEqual(2);
    expect(Number(error.headers['retry-after'])).toBeLessThanOrEqual(5);
    expect(spend.audit).toMatchObject([{ event: 'spend.blocked', cause: 'held', spent: '0' }]);
    // No alert: nothing is used up.
    expect(blocked).toEqual([]);
    answer(first, { input_tokens: 1, output_tokens: 1 });
    answer(await admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 }))), {
      input_tokens: 1,
      output_tokens: 1,
    });
  });

  it.each(['refuse', 'shrink_output'] as const)(
    'do not stop the replica once a limit has been lowered below what was leased of it (%s)',
    async (whenShort) => {
      const long = { period: 'monthly', whenShort } as const;
      const spend = await bed({ limits: [limit({ amount: 100n * DOLLAR, ...long })], maxWaitMs: 2_000 });
      const principal = somebody();
      // $0.90 is spent, and more than the new limit is leased beyond it.
      const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 40_000 })));
      answer(first, { input_tokens: 10, output_tokens: 36_000 });
      // The first of them is new, and looked at first.
      spend.setLimits([
        limit({ amount: 1_000n * DOLLAR, period: 'daily', whenShort }),
        limit({ amount: DOLLAR, ...long }),
      ]);
      const before = performance.eventLoopUtilization();
      const text = 'x'.repeat(60_000);
      const error = await refusal(() => spend.admit(callOf({ principal, text, maxTokens: 32_000 })));
      expect(error.message).toMatch(/^spend limit reached · .* of your monthly limit of \$1\.00 is left/);
      // Nothing could come back that it would have had to wait for, and it did not ask again and again.
      expect(performance.eventLoopUtilization(before).active).toBeLessThan(1_000);
    },
  );

  it('are refused for good as soon as what was spent leaves no room', async () => {
    const spend = await bed({
      limits: [limit({ amount: DOLLAR, period: 'daily', whenShort: 'shrink_output' })],
      count: () => 10,
      maxWaitMs: 20_000,
    });
    const principal = somebody();
    const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    const waiting = refusal(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    await sleep(100);
    answer(first, { input_tokens: 1, output_tokens: 39_999 });
    const error = await waiting;
    expect(error.type).toBe('billing_error');
    expect(error.message).toMatch(/^spend limit reached · this request may take up to \$0\.01/);
    expect(error.headers['x-should-retry']).toBe('false');
  });

  it('leave when their client goes, and hold nothing', async () => {
    const spend = await bed({ limits: [limit({ amount: DOLLAR })], maxWaitMs: 20_000 });
    const principal = somebody();
    const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    const client = new AbortController();
    const waiting = outcomeOf(() =>
      spend.admit(callOf({ principal, maxTokens: 36_000, signal: client.signal })),
    );
    await somebodyWaits(spend);
    client.abort();
    await waiting;
    expect(spend.ledger.waiting).toBe(0);
    answer(first, { input_tokens: 1, output_tokens: 1 });
    await spend.settled();
    expect(spend.ledger.open).toBe(0);
  });

  it('are served at once when the limit is raised', async () => {
    const raised = limit({ amount: DOLLAR });
    const spend = await bed({ limits: [raised], maxWaitMs: 20_000 });
    const principal = somebody();
    await admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    const waiting = admission(() => spend.admit(callOf({ principal, maxTokens: 36_000 })));
    await somebodyWaits(spend);
    spend.setLimits([{ ...raised, amount: 3n * DOLLAR }]);
    expect(maxTokensOf(await waiting)).toBeUndefined();
  });
});

describe('an answer is shortened', () => {
  const daily = (amount: bigint) => [limit({ amount, period: 'daily', whenShort: 'shrink_output' })];

  it('to what is left, where that is all that is not spent', async () => {
    const spend = await bed({ limits: daily(DOLLAR), count: () => 10, maxWaitMs: 20_000 });
    const principal = somebody();
    answer(await admission(() => spend.admit(callOf({ principal }))), {
      input_tokens: 1,
      output_tokens: 30_000,
    });
    await spend.settled();
    const admitted = await admission(() => spend.admit(callOf({ principal, maxTokens: 32_000 })));
    const output = maxTokensOf(admitted) ?? 0;
    expect(output).toBeGreaterThan(9_000);
    expect(output).toBeLessThanOrEqual(10_000);
  });

  it('for what others hold to no less than what is useful: that is waited for', async () => {
    const spend = await bed({ limits: daily(DOLLAR), count: () => 10, maxWaitMs: 20_000 });
    const principal = somebody();
    const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 32_000 })));
    let served: Admitted | undefined;
    const waiting = admission(() => spend.admit(callOf({ principal, maxTokens: 32_000 })));
    void waiting.then((admitted) => (served = admitted));
    await sleep(300);
    // Eight thousand tokens would fit at once.
    expect(served).toBeUndefined();
    answer(first, { input_tokens: 1, output_tokens: 10_000 });
    // 0.75 dollars are left: 29,000 tokens.
    expect(maxTokensOf(await waiting)).toBeGreaterThanOrEqual(16_384);
  });

  it('no further than needed to leave half to who comes next', async () => {
    const spend = await bed({ limits: daily(3n * DOLLAR), count: () => 10, maxWaitMs: 20_000 });
    const principal = somebody();
    await admission(() => spend.admit(callOf({ principal, maxTokens: 60_000 })));
    const admitted = await admission(() => spend.admit(callOf({ principal, maxTokens: 64_000 })));
    // 1.49 of 3.00 dollars are left: half of that.
    const half = Number((3n * DOLLAR - 60_000n * OUTPUT) / 2n / OUTPUT);
    expect(maxTokensOf(admitted)).toBeLessThanOrEqual(half);
    expect(maxTokensOf(admitted)).toBeGreaterThan(half - 1_500);
  });

  it('further where answers of this model and conversation are short', async () => {
    const learned = createLearned();
    for (let i = 0; i < 200; i++) learned.outputs.observe('claude-opus-4-8', 300);
    const spend = await bed({
      limits: daily(DOLLAR),
      count: () => 10,
      maxWaitMs: 20_000,
      overrides: { learned },
    });
    const principal = somebody();
    const headers = { 'x-claude-code-session-id': 's' };
    const ask = (maxTokens: number) =>
      admission(() => spend.admit(callOf({ principal, headers, maxTokens })));
    const first = await ask(32_000);
    // What is useful is 4,096 tokens now, so that half of the 7,000 that are left do not have to be waited for.
    const second = await ask(32_000);
    expect(maxTokensOf(second)).toBeGreaterThanOrEqual(4_096);
    expect(maxTokensOf(second)).toBeLessThan(5_000);
    answer(second, { input_tokens: 1, output_tokens: 3_500 });
    while (spend.ledger.queued > 0) await sleep(5);
    // Twice what was the longest here: more than is left at this moment.
    const third = ask(32_000);
    await somebodyWaits(spend);
    answer(first, { input_tokens: 1, output_tokens: 10 });
    expect(maxTokensOf(await third) ?? 32_000).toBeGreaterThanOrEqual(7_000);
  });
});

describe('a final refusal', () => {
  it('names the limit that is used up, whatever else applies and resets later', async () => {
    const group = `all-${randomUUID()}`;
    const own = limit({ amount: DOLLAR / 100n, period: 'daily', whenShort: 'shrink_output' });
    const pool = limit({
      scope: { type: 'rbac_group', group },
      sharing: 'pooled',
      amount: 20_000n * DOLLAR,
      period: 'monthly',
      whenShort: 'shrink_output',
    });
    const spend = await bed({ limits: [own, pool], count: () => 20_000, maxWaitMs: 20_000 });
    // Several at once: some find the pool's lease in somebody else's hands.
    const errors = await Promise.all(
      Array.from({ length: 12 }, () =>
        refusal(() => spend.admit(callOf({ principal: somebody([group]), maxTokens: 32_000 }))),
      ),
    );
    for (const error of errors) {
      expect(error.message).toMatch(/of your daily limit of \$0\.01 is left/);
      expect(error.headers['anthropic-ratelimit-unified-overage-period']).toBe('daily');
      expect(Number(error.headers['retry-after'])).toBeLessThanOrEqual(86_400);
    }
    for (const event of spend.audit)
      expect(event).toMatchObject({ cause: 'over_limit', blocked_by: [own.id] });
  });

  it('does not happen to a large request a moment after a small one, at two replicas that were quiet', async () => {
    for (let round = 0; round < 4; round++) {
      const limits = [limit({ amount: DOLLAR, period: 'daily', whenShort: 'refuse' })];
      const two = [await bed({ limits, maxWaitMs: 20_000 }), await bed({ limits, maxWaitMs: 20_000 }, 1)];
      const principal = somebody();
      for (const spend of two) {
        answer(await admission(() => spend.admit(callOf({ principal }))), {
          input_tokens: 1,
          output_tokens: 1,
        });
      }
      const [small, large] = [
        callOf({ principal, maxTokens: 100 }),
        callOf({ principal, maxTokens: 36_000 }),
      ];
      const first = admission(async () => two[0]?.admit(small) as Admitted);
      await sleep(3);
      answer(await admission(async () => two[1]?.admit(large) as Admitted), {
        input_tokens: 1,
        output_tokens: 1,
      });
      answer(await first, { input_tokens: 1, output_tokens: 1 });
    }
  });
});

describe("Claude Code's own web search", () => {
  /** As it is sent: a small prompt, eight searches, and all the output that the model may have. */
  const search = (maxTokens = 64_000) => ({
    text: 'Perform a web search for the query: weather in Berlin',
    maxTokens,
    body: { tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }] },
  });
  const searched = {
    input_tokens: 40_000,
    output_tokens: 900,
    server_tool_use: { web_search_requests: 2 },
  };

  async function sent(amount: bigint, used = 0): Promise<{ max_tokens: number; max_uses: number }> {
    const limits = [limit({ amount, period: 'daily', whenShort: 'shrink_output' })];
    const spend = await bed({ limits, count: () => 300, maxWaitMs: 20_000 });
    const principal = somebody();
    if (used > 0) {
      answer(await admission(() => spend.admit(callOf({ principal }))), {
        input_tokens: 1,
        output_tokens: used,
      });
      await spend.settled();
    }
    const admitted = await admission(() => spend.admit(callOf({ principal, ...search() })));
    answer(admitted, searched);
    const body = JSON.parse(String(admitted.body ?? '{"max_tokens":64000,"tools":[{"max_uses":8}]}')) as {
      max_tokens: number;
      tools: { max_uses: number }[];
    };
    return { max_tokens: body.max_tokens, max_uses: body.tools[0]?.max_uses ?? 0 };
  }

  it('is served whole under fresh limits of $20 and $50, with five searches under $5', async () => {
    expect(await sent(50n * DOLLAR)).toEqual({ max_tokens: 64_000, max_uses: 8 });
    expect(await sent(20n * DOLLAR)).toEqual({ max_tokens: 64_000, max_uses: 8 });
    expect(await sent(5n * DOLLAR)).toEqual({ max_tokens: 16_384, max_uses: 5 });
  });

  it('has one search when little is left, and is refused when that is too much', async () => {
    expect(await sent(DOLLAR)).toMatchObject({ max_uses: 1 });
    // 0.50 of 1.00 dollars are left.
    await expect(sent(DOLLAR, 20_000)).resolves.toMatchObject({ max_uses: 1 });
    await expect(sent(DOLLAR, 30_000)).rejects.toMatchObject({ type: 'billing_error' });
  });

  it('is never given more searches than it asked for, and nothing else of it changes', async () => {
    const limits = [limit({ amount: 3n * DOLLAR, period: 'daily', whenShort: 'shrink_output' })];
    const spend = await bed({ limits, count: () => 300 });
    const tools = [
      { name: 'web_search', max_uses: 1, type: 'web_search_20250305' },
      { name: 'ask', input_schema: { type: 'object', max_uses: 7 } },
      { type: 'web_search_20250305', name: 'other', max_uses: 8, allowed_domains: ['x.example'] },
    ];
    const { body } = await admission(() => spend.admit(callOf({ maxTokens: 64_000, body: { tools } })));
    const lowered = JSON.parse(String(body)) as { tools: { max_uses: number }[] };
    const uses = lowered.tools[2]?.max_uses ?? 8;
    expect(uses).toBeLessThan(8);
    expect(lowered.tools).toEqual([tools[0], tools[1], { ...tools[2], max_uses: uses }]);
  });

  it('waits for three searches where others only hold what is missing', async () => {
    const limits = [limit({ amount: 5n * DOLLAR, period: 'daily', whenShort: 'shrink_output' })];
    const spend = await bed({ limits, count: () => 300, maxWaitMs: 20_000 });
    const principal = somebody();
    const first = await admission(() => spend.admit(callOf({ principal, maxTokens: 128_000 })));
    const waiting = admission(() => spend.admit(callOf({ principal, ...search() })));
    await somebodyWaits(spend);
    answer(first, { input_tokens: 1, output_tokens: 10 });
    const { tools } = JSON.parse(String((await waiting).body)) as { tools: { max_uses: number }[] };
    expect(tools[0]?.max_uses).toBeGreaterThanOrEqual(3);
  });
});
