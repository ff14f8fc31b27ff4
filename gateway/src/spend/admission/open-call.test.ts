import { StoreUnavailableError, type LedgerStore, type SpendLimit } from '@claude-gateway/prisma';
import { afterEach, describe, expect, it } from '@jest/globals';
import { useStores } from '../../testing/stores.ts';
import { boundOf } from '../bound/body-bound.ts';
import { createPriceBook } from '../prices/price-book.ts';
import { ratesOfCall } from '../prices/rates-of-call.ts';
import { NO_USAGE } from '../no-usage.ts';
import type { Admitted } from './call.ts';
import {
  answer,
  callOf,
  DOLLAR,
  endOf,
  limit,
  snapshotOf,
  somebody,
  spendBed,
  UPSTREAMS,
  type CallOptions,
  type SpendBed,
  type SpendBedOptions,
} from './testing/bed.ts';

const stores = useStores();
const beds: SpendBed[] = [];
afterEach(async () => {
  await Promise.all(beds.splice(0).map(({ ledger }) => ledger.close(2_000)));
});

async function bed(
  options: Omit<SpendBedOptions, 'store'> & { store?: LedgerStore } = {},
): Promise<SpendBed> {
  const made = await spendBed({ store: stores.store.ledger, ...options });
  beds.push(made);
  return made;
}

/** nano-USD per token of Opus. */
const INPUT = 5_000n;
const OUTPUT = 25_000n;
const PRICES = createPriceBook({ pricing: undefined });
const STRICT = [limit({ amount: 100n * DOLLAR })];
const POSTPAID = [limit({ amount: 100n * DOLLAR, mode: 'postpaid' })];
const OPENING = {
  type: 'message_start',
  message: { type: 'message', usage: { input_tokens: 7, output_tokens: 1 } },
};

const blockStart = (type: string) => ({ type: 'content_block_start', index: 0, content_block: { type } });
const text = (written: string) => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: written },
});

/** What somebody is charged whose connection is gone after these events of a stream, with no count to come. */
async function hungUp(limits: readonly SpendLimit[], call: CallOptions, events: readonly object[]) {
  const spend = await bed({ limits });
  const admitted = await spend.admit(callOf(call));
  admitted.observer.onResponseStart(200, { 'content-type': 'text/event-stream' }, 'first');
  for (const event of events)
    admitted.observer.onResponseBytes(Buffer.from(`data: ${JSON.stringify(event)}\n\n`));
  admitted.observer.onResponseEnd(endOf({ ending: 'client_gone', streamed: true }));
  await spend.settled();
  const [record] = spend.records;
  if (record === undefined) throw new Error('nothing was charged');
  return record;
}

describe('an answer without its last count', () => {
  const chinese = [OPENING, blockStart('text'), text('花费要准确'.repeat(100))];

  it('is a token for each byte of its text under a strict cap', async () => {
    const { outputTokens, inputTokens, outcome } = await hungUp(STRICT, { maxTokens: 32_000 }, chinese);
    // 500 characters that the upstream may count as so many tokens, or more.
    expect(outputTokens).toBe(1500 + 8 + 1);
    expect({ inputTokens, outcome }).toEqual({ inputTokens: 7, outcome: 'partial' });
  });

  it('is an estimate elsewhere, which is not below what such text has', async () => {
    for (const limits of [[], POSTPAID]) {
      const { outputTokens } = await hungUp(limits, { maxTokens: 32_000 }, chinese);
      expect(outputTokens).toBe(750);
    }
  });

  it('is never more than was asked for', async () => {
    for (const limits of [[], POSTPAID, STRICT]) {
      expect((await hungUp(limits, { maxTokens: 20 }, chinese)).outputTokens).toBe(20);
    }
  });

  const thinking = (kind: object) => ({ maxTokens: 32_000, body: { thinking: kind } });
  const adaptive = thinking({ type: 'adaptive', display: 'omitted' });
  const budget = thinking({ type: 'enabled', budget_tokens: 4000 });
  const begun = [OPENING, blockStart('thinking')];
  const behind = [...begun, { type: 'content_block_stop' }, blockStart('text'), text('ja')];

  it.each([
    ['all that max_tokens allows', adaptive, begun, 32_000, 8_192 + 1],
    ['also before it has begun', adaptive, [OPENING], 32_000, 8_192 + 1],
    ['also behind it', adaptive, behind, 32_000, 8_192 + 1],
    ['its budget', budget, begun, 4000 + 8 + 1, 4000 + 1],
    ['its budget, and the text', budget, behind, 4000 + 16 + 2 + 1, 4000 + 1],
    ['nothing where it is off', thinking({ type: 'disabled' }), [OPENING], 1, 1],
    ['nothing where nobody asked, and it has not begun', { maxTokens: 32_000 }, [OPENING], 1, 1],
    ['what a model thinks unasked', { maxTokens: 32_000 }, begun, 32_000, 8_192 + 1],
    ['nothing where text came first', adaptive, [OPENING, blockStart('text'), text('ja')], 1 + 8 + 2, 1],
    ['nothing where the upstream failed', adaptive, [OPENING, { type: 'error', error: {} }], 1, 1],
  ])('has thinking that nobody saw: %s', async (_name, call, events, strict, elsewhere) => {
    expect((await hungUp(STRICT, call, events)).outputTokens).toBe(strict);
    expect((await hungUp(POSTPAID, call, events)).outputTokens).toBe(elsewhere);
  });

  it('is charged as it was held when tools at the upstream were at work', async () => {
    const tools = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 1 }];
    const spend = await bed({ limits: STRICT });
    const admitted = await spend.admit(callOf({ body: { tools } }));
    admitted.observer.onResponseStart(200, {}, 'first');
    for (const event of [OPENING, blockStart('server_tool_use')]) {
      admitted.observer.onResponseBytes(Buffer.from(`data: ${JSON.stringify(event)}\n\n`));
    }
    admitted.observer.onResponseEnd(endOf({ ending: 'upstream_cut', streamed: true }));
    await spend.settled();
    const [record] = spend.records;
    expect(record).toMatchObject({ webSearches: 1, outcome: 'partial' });
    // What a search may bring, read twice, at the least.
    expect(record?.costNanoUsd).toBeGreaterThan(60_000n * INPUT);
  });

  it('that was not streamed may have been all but written', async () => {
    const spend = await bed({ limits: STRICT });
    const admitted = await spend.admit(callOf({ maxTokens: 900 }));
    admitted.observer.onResponseEnd(endOf({ ending: 'client_gone', reached: 'unanswered', status: 499 }));
    expect(spend.records).toMatchObject([{ outputTokens: 900 }]);
  });

  it('is not free when its usage counts nothing', async () => {
    for (const usage of [{}, { input_tokens: '7', output_tokens: -3 }, { output_tokens: 1.5 }]) {
      for (const limits of [[], STRICT]) {
        const spend = await bed({ limits });
        answer(await spend.admit(callOf()), usage);
        const [record] = spend.records;
        expect(record).toMatchObject({ outcome: 'partial' });
        expect(record?.inputTokens).toBeGreaterThan(20);
        expect(record?.outputTokens).toBeGreaterThan(10);
      }
    }
  });
});

describe('an answer of several models', () => {
  const advised = (model?: string) => ({
    input_tokens: 100,
    output_tokens: 10,
    server_tool_use: { web_search_requests: 2 },
    iterations: [
      { type: 'message', input_tokens: 100, output_tokens: 10 },
      { type: 'advisor_message', model, input_tokens: 1000, output_tokens: 200, cache_read_input_tokens: 50 },
    ],
  });
  const own = 100n * INPUT + 10n * OUTPUT + (2n * DOLLAR) / 100n;
  const prices = createPriceBook({ pricing: undefined });
  const costBy = (model: string) =>
    prices.rates('first', model, model).cost(
      {
        inputTokens: 1000,
        outputTokens: 200,
        cacheReadTokens: 50,
        cacheWrite5mTokens: 0,
        cacheWrite1hTokens: 0,
        webSearches: 0,
      },
      false,
    );
  const charged = async (usage: Record<string, unknown>) => {
    const spend = await bed();
    answer(await spend.admit(callOf()), usage);
    return spend.records[0];
  };

  it('costs what each of them costs', async () => {
    for (const model of ['claude-fable-5', 'claude-haiku-4-5-20251001', 'claude-opus-4-8']) {
      const record = await charged(advised(model));
      expect(record?.costNanoUsd).toBe(own + costBy(model));
      expect(record).toMatchObject({ inputTokens: 1100, outputTokens: 210, webSearches: 2 });
    }
    expect((await charged(advised()))?.costNanoUsd).toBe(own + costBy('claude-opus-4-8'));
    expect(costBy('claude-fable-5')).toBeGreaterThan(costBy('claude-opus-4-8'));
  });

  it('costs the dearest where nobody knows the model', async () => {
    const record = await charged(advised('conjured-9'));
    expect(record?.costNanoUsd).toBeGreaterThanOrEqual(own + costBy('claude-fable-5'));
  });

  it('never costs less than its top level', async () => {
    const usage = {
      ...advised(),
      iterations: [{ type: 'message', model: 'claude-haiku-4-5', input_tokens: 1 }],
    };
    expect((await charged(usage))?.costNanoUsd).toBe(own);
  });
});

describe('a model without a price', () => {
  const prices = PRICES;
  const used = { ...NO_USAGE, inputTokens: 1000, outputTokens: 200, cacheReadTokens: 5000 };
  const usage = { input_tokens: 1000, output_tokens: 200, cache_read_input_tokens: 5000 };
  const charge = async (limits: readonly SpendLimit[], answered: Record<string, unknown>, model?: string) => {
    const spend = await bed({ limits });
    const call = callOf();
    const candidates = UPSTREAMS.map(({ upstream }) => ({ upstream, model: model ?? 'claude-opus-4-8' }));
    answer(await spend.admit({ ...call, candidates, model: model ?? call.model }), answered);
    await spend.settled();
    return spend.records[0]?.costNanoUsd ?? 0n;
  };

  it('costs the most that any model does where a strict limit pays', async () => {
    const dearest = prices.dearest('first').cost(used, false);
    expect(await charge(STRICT, usage, 'conjured-9')).toBe(dearest);
    expect(await charge(POSTPAID, usage, 'conjured-9')).toBe(
      prices.rates('first', 'conjured-9', 'conjured-9').cost(used, false),
    );
    expect(dearest).toBeGreaterThan(prices.rates('first', 'x', 'claude-fable-5').cost(used, false));
  });

  it('is held at that, so that it is never charged above a strict limit', async () => {
    const call = callOf({ maxTokens: 1000 });
    const candidates = UPSTREAMS.map(({ upstream }) => ({ upstream, model: 'conjured-9' }));
    const bound = boundOf(call.request, 'conjured-9');
    const most = prices.dearest('first').ceiling(bound);
    for (const [amount, fits] of [
      [most, true],
      [most - 1n, false],
    ] as const) {
      const spend = await bed({ limits: [limit({ amount, whenShort: 'refuse' })] });
      const admitting = async () => spend.admit({ ...call, candidates, model: 'conjured-9' });
      if (fits) answer(await admitting(), { input_tokens: 1 });
      else await expect(admitting()).rejects.toMatchObject({ status: 429 });
    }
  });
});

describe('an answer in one place only', () => {
  const usage = { input_tokens: 7, output_tokens: 3, server_tool_use: { web_search_requests: 1 } };
  const tokens = 7n * INPUT + 3n * OUTPUT;
  const search = DOLLAR / 100n;

  it.each([
    ['as the upstream says', { ...usage, inference_geo: 'us' }, {}, (tokens * 11n) / 10n + search],
    ['as was asked', usage, { inference_geo: 'us' }, (tokens * 11n) / 10n + search],
    [
      'not where the upstream says otherwise',
      { ...usage, inference_geo: 'global' },
      { inference_geo: 'us' },
      tokens + search,
    ],
    ['not where nobody asked', usage, {}, tokens + search],
  ])('costs 1.1 times its tokens: %s', async (_name, counted, body, cost) => {
    const spend = await bed();
    answer(await spend.admit(callOf({ body })), counted);
    expect(spend.records[0]?.costNanoUsd).toBe(cost);
  });
});

describe('an upstream that had the request and gave no answer', () => {
  const lose = async (admitted: Admitted, upstream = 'first', streamed = true) =>
    admitted.observer.onLost(upstream, streamed);

  it('is charged the input at its full price, beside the answer of another', async () => {
    const principal = somebody();
    const spend = await bed({ limits: STRICT });
    const call = callOf({ principal, body: { system: [{ type: 'text', text: 'x', cache_control: {} }] } });
    const admitted = await spend.admit(call);
    expect(await lose(admitted)).toBe(true);
    expect(await lose(admitted, 'second')).toBe(true);
    answer(admitted, { input_tokens: 7, output_tokens: 3 }, { upstream: 'second' });
    const input = call.request.body.length + 2048;
    const lost = {
      requestId: call.context.id,
      cacheWrite5mTokens: input,
      outputTokens: 0,
      costNanoUsd: (BigInt(input) * INPUT * 5n) / 4n,
      outcome: 'partial',
    };
    expect(spend.records).toMatchObject([
      { ...lost, upstream: 'first' },
      { ...lost, upstream: 'second' },
      { upstream: 'second', inputTokens: 7, outcome: 'complete' },
    ]);
    expect(new Set(spend.records.map(({ id }) => id)).size).toBe(3);
    await spend.settled();
    const [cap] = snapshotOf(STRICT).resolve(principal, Date.now());
    const [state] = await stores.store.ledger.windows([cap?.window.id ?? '']);
    const sum = spend.records.reduce((total, { costNanoUsd }) => total + costNanoUsd, 0n);
    expect(state?.spent).toBe(sum);
  });

  const SEARCH = { tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 2 }] };
  const RUN = { tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] };
  const ADVISE = {
    tools: [{ type: 'advisor_20260301', name: 'advisor', model: 'claude-opus-4-8', max_uses: 2 }],
  };
  const THINK = { thinking: { type: 'adaptive' } };
  const held = (sub: object) => ({ body: sub, principal: somebody() });
  it.each([
    ['searches of the web', SEARCH, true, true],
    ['code', RUN, true, true],
    ['an advisor', ADVISE, true, true],
    ['servers that it connects', { mcp_servers: [{ url: 'https://x.example' }] }, true, true],
    ['a fallback', { fallbacks: 'default' }, true, true],
    ['a summary', { compaction: { type: 'auto' } }, true, true],
    ['a document', {}, false, true],
    ['a stream', {}, true, false],
    ['a stream that may think', THINK, true, false],
  ])('is charged what it can have billed: %s', async (_name, body, streamed, whole) => {
    for (const ending of ['upstream_cut', 'refused'] as const) {
      for (const limits of [STRICT, POSTPAID]) {
        const amount = 2_000n * DOLLAR;
        const spend = await bed({ limits: limits.map((one) => ({ ...one, amount })) });
        const call = callOf(held(body));
        const admitted = await spend.admit(call);
        await lose(admitted, 'first', streamed);
        admitted.observer.onResponseEnd(endOf({ ending, reached: 'unanswered', streamed, status: 502 }));
        await spend.settled();
        const input = BigInt(call.request.body.length + 2048) * INPUT;
        const most = ratesOfCall(call, PRICES)[0]?.ceiling(boundOf(call.request, call.model)) ?? 0n;
        for (const { costNanoUsd, outputTokens } of spend.records) {
          if (limits === POSTPAID) expect(costNanoUsd).toBeLessThan(input);
          else if (whole) expect(costNanoUsd).toBeGreaterThanOrEqual(most);
          else expect({ costNanoUsd, outputTokens }).toEqual({ costNanoUsd: input, outputTokens: 0 });
        }
        expect(spend.records).toHaveLength(2);
      }
    }
  });

  it('is the last one when nothing is left for another', async () => {
    // The worst case of one request fits, and not of two.
    const spend = await bed({ limits: [limit({ amount: 60_000_000n, whenShort: 'refuse' })] });
    const admitted = await spend.admit(callOf({ maxTokens: 1500 }));
    expect(await lose(admitted)).toBe(false);
    expect(spend.records).toEqual([]);
    admitted.observer.onResponseEnd(
      endOf({ ending: 'refused', reached: 'unanswered', streamed: true, status: 502 }),
    );
    await spend.settled();
    expect(spend.records).toMatchObject([{ upstream: 'first', outputTokens: 0, status: 502 }]);
  });

  it('is followed by another where nothing was held, whatever is left', async () => {
    const away = new Proxy(stores.store.ledger, {
      get: (target, key: keyof LedgerStore) =>
        key === 'lease' || key === 'openWindows'
          ? () => Promise.reject(new StoreUnavailableError('away'))
          : target[key].bind(target),
    });
    for (const options of [{}, { limits: POSTPAID }, { limits: STRICT, store: away }]) {
      const spend = await bed(options);
      const admitted = await spend.admit(callOf());
      expect(await lose(admitted)).toBe(true);
      answer(admitted, { input_tokens: 1, output_tokens: 1 });
      expect(spend.records).toHaveLength(2);
    }
  });

  it('is charged once when the client goes while the next one is held', async () => {
    const spend = await bed({ limits: [limit({ amount: 60_000_000n, whenShort: 'refuse' })] });
    const admitted = await spend.admit(callOf({ maxTokens: 1500 }));
    const waiting = admitted.observer.onLost('first', true);
    admitted.observer.onResponseEnd(
      endOf({ ending: 'client_gone', reached: 'unanswered', streamed: true, status: 499 }),
    );
    expect(await waiting).toBe(false);
    await spend.settled();
    expect(spend.records).toHaveLength(1);
    expect(spend.ledger.open).toBe(0);
  });
});

it('should its replica die, a request is charged its input at the full price', async () => {
  const spend = await bed({ limits: STRICT });
  const call = callOf({ body: { cache_control: { type: 'ephemeral', ttl: '1h' } } });
  await spend.admit(call);
  const input = call.request.body.length + 2048;
  expect(spend.noted.map((floor) => floor())).toMatchObject([
    {
      cacheWrite1hTokens: input,
      costNanoUsd: BigInt(input) * INPUT * 2n,
      outputTokens: 0,
      outcome: 'abandoned',
    },
  ]);
});
