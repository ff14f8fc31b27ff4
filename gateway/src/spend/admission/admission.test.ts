import { randomUUID } from 'node:crypto';
import { StoreUnavailableError, type LedgerStore } from '@claude-gateway/prisma';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ApiError } from '../../http/errors.ts';
import { useStores } from '../../testing/stores.ts';
import { createPriceBook } from '../prices/price-book.ts';
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

async function refusal(admitted: () => Admitted | Promise<Admitted>): Promise<ApiError> {
  try {
    await admitted();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

/** nano-USD per token of Opus. */
const INPUT = 5_000n;
const OUTPUT = 25_000n;

/** What the windows of these limits have, for one person. */
async function windowsOf(spend: SpendBed, limits: Parameters<typeof snapshotOf>[0], principal = somebody()) {
  await spend.settled();
  const caps = snapshotOf(limits).resolve(principal, Date.now());
  const states = await stores.store.ledger.windows(caps.map(({ window }) => window.id));
  return caps.map(({ window }) => states.find(({ windowId }) => windowId === window.id));
}

describe('a request without caps', () => {
  it('is admitted in the same turn, gets no headers and leaves a record', async () => {
    const spend = await bed();
    const call = callOf({ principal: { ...somebody(['eng']), name: 'Alice' } });
    const admitted = spend.admit(call);
    if (admitted instanceof Promise) throw new Error('it had to wait');
    expect(admitted.body).toBeUndefined();
    const usage = { input_tokens: 100, output_tokens: 10, cache_read_input_tokens: 1000 };
    expect(answer(admitted, usage)).toBeUndefined();
    expect(spend.records).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown,
        requestId: call.context.id,
        sub: call.principal.sub,
        kind: 'user',
        email: call.principal.email,
        name: 'Alice',
        groups: ['eng'],
        model: 'claude-opus-4-8',
        upstream: 'first',
        fastMode: false,
        inputTokens: 100,
        outputTokens: 10,
        cacheReadTokens: 1000,
        cacheWrite5mTokens: 0,
        cacheWrite1hTokens: 0,
        webSearches: 0,
        costNanoUsd: 100n * INPUT + 10n * OUTPUT + 1000n * 500n,
        outcome: 'complete',
        status: 200,
        admittedAt: expect.any(Date) as unknown,
        firstByteMs: 12,
        durationMs: 100,
      },
    ]);
    await spend.settled();
  });
});

describe('a strict cap', () => {
  it('has the worst case held while the request is under way, and the cost spent afterwards', async () => {
    const limits = [limit({ amount: 10n * DOLLAR })];
    const spend = await bed({ limits });
    const principal = somebody();
    const call = callOf({ principal, maxTokens: 1000 });
    const admitted = await spend.admit(call);
    const [during] = await windowsOf({ ...spend, settled: () => Promise.resolve() }, limits, principal);
    const worst = BigInt(call.request.body.length + 2048) * INPUT + 1000n * OUTPUT;
    expect(during?.spent).toBe(0n);
    expect(during?.held).toBeGreaterThanOrEqual(worst);

    answer(admitted, { input_tokens: 7, output_tokens: 3 });
    await spend.ledger.close(2_000);
    const [after] = await windowsOf(spend, limits, principal);
    expect(after).toMatchObject({ spent: 7n * INPUT + 3n * OUTPUT, held: 0n });
  });

  it('is held at the dearest upstream of the chain, and charged at the one that answered', async () => {
    const pricing = {
      multiplier: 1,
      overrides: [
        {
          upstream: 'second',
          model: 'claude-opus-4-8',
          input: 50,
          output: 250,
          cache_read: 1,
          cache_write: 1,
        },
      ],
    };
    const worst = (call: ReturnType<typeof callOf>) =>
      10n * (BigInt(call.request.body.length + 2048) * INPUT + 1000n * OUTPUT);
    const tight = await bed({
      limits: [limit({ amount: worst(callOf()) - 1n })],
      overrides: { prices: createPriceBook({ pricing }) },
    });
    await expect(refusal(() => tight.admit(callOf()))).resolves.toMatchObject({ status: 429 });
    const enough = await bed({
      limits: [limit({ amount: worst(callOf()) })],
      overrides: { prices: createPriceBook({ pricing }) },
    });
    const admitted = await enough.admit(callOf());
    answer(admitted, { input_tokens: 7, output_tokens: 3 });
    expect(enough.records[0]?.costNanoUsd).toBe(7n * INPUT + 3n * OUTPUT);
  });

  it('is never exceeded, however many come at once, and lets those through that fit', async () => {
    const principal = somebody();
    const call = () => callOf({ principal, maxTokens: 100 });
    const worst = BigInt(call().request.body.length + 2048) * INPUT + 100n * OUTPUT;
    const limits = [limit({ amount: 7n * worst + worst / 2n })];
    const spend = await bed({ limits });
    const results = await Promise.allSettled(Array.from({ length: 40 }, async () => spend.admit(call())));
    const admitted = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(admitted).toHaveLength(7);
    for (const one of admitted) answer(one, { input_tokens: 1, output_tokens: 100 });
    const [after] = await windowsOf(spend, limits, principal);
    expect(after?.spent).toBe(7n * (INPUT + 100n * OUTPUT));
  });

  it('of several that count in one window is the lowest', async () => {
    const principal = somebody(['a', 'b']);
    const groups = (['a', 'b'] as const).map((group, i) =>
      limit({
        scope: { type: 'rbac_group', group },
        amount: BigInt(i + 1) * DOLLAR,
        ...(i === 0 && { owner: { kind: 'SpendPolicy', namespace: 'n', name: 'p', uid: randomUUID() } }),
      }),
    );
    const spend = await bed({ limits: groups });
    const admitted = await spend.admit(callOf({ principal, maxTokens: 30_000 }));
    const error = await refusal(() => spend.admit(callOf({ principal, maxTokens: 30_000 })));
    expect(error.message).toContain('limit of $1.00');
    admitted.observer.onResponseEnd(endOf({ reached: 'nowhere', upstream: null, status: 502 }));
    expect(spend.records).toEqual([]);
    const again = await spend.admit(callOf({ principal, maxTokens: 30_000 }));
    answer(again, { input_tokens: 1, output_tokens: 1 });
  });
});

describe('a cap that is used up', () => {
  it('refuses without asking PostgreSQL once that is known, with everything the client needs', async () => {
    const limits = [
      limit({ amount: 1n * DOLLAR, policyName: 'eng-caps', blockedMessage: 'ask at https://go/limits' }),
    ];
    let calls = 0;
    const store: LedgerStore = new Proxy(stores.store.ledger, {
      get(target, key: keyof LedgerStore) {
        const method = target[key].bind(target) as (...args: unknown[]) => unknown;
        return key !== 'lease' ? method : (...args: unknown[]) => (calls++, method(...args));
      },
    });
    const spend = await bed({ limits, store, overrides: { clock: () => Date.UTC(2026, 7, 7, 12) } });
    const principal = somebody();
    const admitted = await spend.admit(callOf({ principal, maxTokens: 1000 }));
    answer(admitted, { input_tokens: 1, output_tokens: 50_000 });
    await spend.settled();
    const before = calls;
    const call = callOf({ principal });
    const error = await refusal(() => spend.admit(call));
    expect(calls).toBe(before);
    expect(error.type).toBe('billing_error');
    expect(error.message).toBe(
      'spend limit reached · your monthly limit of $1.00 (policy eng-caps) is used up · ' +
        'resets Sep 1, 00:00 UTC · ask at https://go/limits',
    );
    expect(error.headers).toEqual({
      'anthropic-ratelimit-unified-status': 'rejected',
      'anthropic-ratelimit-unified-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-utilization': '1.25',
      'anthropic-ratelimit-unified-overage-surpassed-threshold': '1',
      'anthropic-ratelimit-unified-overage-period': 'monthly',
      'anthropic-ratelimit-unified-overage-disabled-reason': 'org_spend_cap_reached',
      'retry-after': String((Date.UTC(2026, 8, 1) - Date.UTC(2026, 7, 7, 12)) / 1000),
      'x-should-retry': 'false',
    });
    expect(spend.audit).toEqual([
      {
        event: 'spend.blocked',
        request_id: call.context.id,
        sub: principal.sub,
        email: principal.email,
        client_ip: '127.0.0.1',
        model: 'claude-opus-4-8',
        cause: 'over_limit',
        limit_id: limits[0]?.id,
        policy: 'eng-caps',
        period: 'monthly',
        source: 'organization',
        unit: 'nano_usd',
        cap: '1000000000',
        cap_cents: '100',
        window_id: expect.any(String) as unknown,
        resets_at: '2026-09-01T00:00:00.000Z',
        spent: '1250005000',
        need: '0',
        available: '0',
        blocked_by: [limits[0]?.id],
      },
    ]);
  });

  it('of nothing blocks everything, at once', async () => {
    const spend = await bed({ limits: [limit({ amount: 0n, period: 'daily', mode: 'postpaid' })] });
    const error = await refusal(() => spend.admit(callOf()));
    expect(error.message).toBe('spend limit reached · your daily limit of $0.00 lets nothing through');
    expect(error.headers['anthropic-ratelimit-unified-overage-utilization']).toBe('1');
  });
});

describe('a request whose cheap bound does not fit', () => {
  /** About 60,000 bytes: 0.30 dollars if each were a token. */
  const long = 'all work and no play '.repeat(3_000);
  const room = [limit({ amount: DOLLAR / 10n, whenShort: 'refuse' })];

  it('is admitted by the upstream count', async () => {
    const spend = await bed({ limits: room, count: () => 12_000 });
    const call = callOf({ text: long, maxTokens: 1000 });
    const admitted = await spend.admit(call);
    expect(admitted.body).toBeUndefined();
    expect(spend.counted).toEqual([call]);
    answer(admitted, { input_tokens: 12_000, output_tokens: 10 });
    const [after] = await windowsOf(spend, room, call.principal);
    expect(after?.spent).toBe(12_000n * INPUT + 10n * OUTPUT);
  });

  it('is refused when the upstream has no count, or one that is too high', async () => {
    for (const count of [undefined, 20_000]) {
      const spend = await bed({ limits: room, count: () => count });
      const error = await refusal(() => spend.admit(callOf({ text: long, maxTokens: 1000 })));
      expect(error.message).toMatch(
        /^spend limit reached · this request may take up to \$0\.\d\d, and \$0\.10 of your monthly limit of \$0\.10 is left · resets [A-Z][a-z]{2} 1, 00:00 UTC$/,
      );
      expect(error.headers['anthropic-ratelimit-unified-overage-utilization']).toBe('1');
      expect(spend.counted).toHaveLength(1);
    }
  });

  it('is not counted when no count could help', async () => {
    const spend = await bed({ limits: room, count: () => 1 });
    await refusal(() => spend.admit(callOf({ text: long, maxTokens: 4001 })));
    expect(spend.counted).toEqual([]);
  });

  it('is admitted by what its conversation measured, without another count', async () => {
    const spend = await bed({ limits: room, count: () => 12_000 });
    const principal = somebody();
    const headers = { 'x-claude-code-session-id': 's1' };
    const messages: object[] = [{ role: 'user', content: long }];
    for (let turn = 0; turn < 3; turn++) {
      const admitted = await spend.admit(
        callOf({ principal, headers, maxTokens: 100, body: { messages: [...messages] } }),
      );
      answer(admitted, { input_tokens: 10, cache_read_input_tokens: 12_000, output_tokens: 5 });
      await spend.settled();
      messages.push({ role: 'assistant', content: 'ok' }, { role: 'user', content: 'go on' });
    }
    expect(spend.counted).toHaveLength(1);
    await refusal(() =>
      spend.admit(callOf({ principal: somebody(), headers, maxTokens: 4001, body: { messages } })),
    );
  });
});

describe('whenShort: shrink_output', () => {
  it('lowers max_tokens to what is left, and no further than the floor', async () => {
    const limits = [limit({ amount: DOLLAR / 5n, whenShort: 'shrink_output' })];
    const spend = await bed({ limits, count: () => 10 });
    const principal = somebody();
    const call = callOf({ principal, maxTokens: 32_000 });
    const admitted = await spend.admit(call);
    const { max_tokens: lowered, ...rest } = JSON.parse(String(admitted.body)) as { max_tokens: number };
    expect(rest).toEqual({ model: 'claude-opus-4-8', messages: [{ role: 'user', content: 'hello' }] });
    // 0.20 dollars less 523 tokens of input.
    expect(lowered).toBe(Number((DOLLAR / 5n - 523n * INPUT) / OUTPUT));
    answer(admitted, { input_tokens: 10, output_tokens: lowered });
    await spend.settled();
    // What is left now pays for less than the floor of 100 tokens.
    const counts = spend.counted.length;
    const error = await refusal(() => spend.admit(callOf({ principal, maxTokens: 32_000 })));
    expect(error.message).toContain('spend limit reached · this request may take up to');
    expect(spend.counted.length - counts).toBeLessThanOrEqual(1);
    const [after] = await windowsOf(spend, limits, principal);
    expect(after?.spent).toBeLessThanOrEqual(DOLLAR / 5n);
  });

  it('refuses when one of the caps that are short says so', async () => {
    const spend = await bed({
      limits: [
        limit({ amount: DOLLAR / 5n, whenShort: 'shrink_output' }),
        limit({ amount: DOLLAR / 5n, whenShort: 'refuse', period: 'daily' }),
      ],
      count: () => 10,
    });
    await expect(refusal(() => spend.admit(callOf({ maxTokens: 32_000 })))).resolves.toBeInstanceOf(ApiError);
  });

  it('shares the rest among those who come at once', async () => {
    const limits = [limit({ amount: DOLLAR / 5n, whenShort: 'shrink_output' })];
    const spend = await bed({ limits, count: () => 10 });
    const principal = somebody();
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, async () => spend.admit(callOf({ principal, maxTokens: 32_000 }))),
    );
    const admitted = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(admitted.length).toBeGreaterThanOrEqual(1);
    for (const one of admitted) {
      const { max_tokens: output } = JSON.parse(String(one.body)) as { max_tokens: number };
      answer(one, { input_tokens: 10, output_tokens: output });
    }
    const [after] = await windowsOf(spend, limits, principal);
    expect(after?.spent).toBeLessThanOrEqual(DOLLAR / 5n);
    expect(after?.spent).toBeGreaterThan(DOLLAR / 6n);
  });
});

describe('one pool of several', () => {
  it('pays as long as it has room, then the next one, whatever the group spent before', async () => {
    const [first, second] = [`a-${randomUUID()}`, `b-${randomUUID()}`];
    const principal = somebody([first, second]);
    const poolOf = (group: string, amount: bigint) =>
      limit({ scope: { type: 'rbac_group', group }, sharing: 'pooled', amount });
    const limits = [poolOf(first, 2_000n * OUTPUT), poolOf(second, 1_900n * OUTPUT)];
    const snapshot = snapshotOf(limits, { pooledConflictRule: 'default_order' });
    const caps = snapshot.resolve(principal, Date.now());
    expect(caps).toMatchObject([{ subject: { group: first }, otherwise: { subject: { group: second } } }]);

    // Before there was a cap: it counts in neither pool, since nobody can say in which.
    const spend = await bed();
    answer(await spend.admit(callOf({ principal })), { input_tokens: 0, output_tokens: 1000 });
    await spend.settled();

    const pooled = await bed({ overrides: { caps: () => snapshot } });
    for (let i = 0; ; i++) {
      const admitted = await Promise.resolve()
        .then(() => pooled.admit(callOf({ principal, maxTokens: 400 })))
        .catch((error: unknown) => error as ApiError);
      if (admitted instanceof ApiError) {
        expect(admitted.message).toContain(second);
        break;
      }
      if (i > 200) throw new Error('nobody was refused');
      answer(admitted, { input_tokens: 0, output_tokens: 400 });
    }
    await pooled.settled();
    const windows = [caps[0]?.window.id ?? '', caps[0]?.otherwise?.window.id ?? ''];
    const states = await stores.store.ledger.windows(windows);
    const spent = windows.map((id) => states.find(({ windowId }) => windowId === id)?.spent ?? 0n);
    const records = pooled.records.reduce((sum, { costNanoUsd }) => sum + costNanoUsd, 0n);
    expect((spent[0] ?? 0n) + (spent[1] ?? 0n)).toBe(records);
    expect(spent.every((amount) => amount > 0n)).toBe(true);
  });
});

describe('other modes', () => {
  it('postpaid holds nothing, and stops what comes after the cap is reached', async () => {
    const limits = [limit({ amount: DOLLAR, mode: 'postpaid' })];
    const spend = await bed({ limits });
    const principal = somebody();
    const both = [
      await spend.admit(callOf({ principal, maxTokens: 60_000 })),
      await spend.admit(callOf({ principal, maxTokens: 60_000 })),
    ];
    for (const one of both) answer(one, { input_tokens: 1, output_tokens: 30_000 });
    await spend.settled();
    const error = await refusal(() => spend.admit(callOf({ principal })));
    expect(error.message).toContain('your monthly limit of $1.00 is used up');
    expect(error.headers['anthropic-ratelimit-unified-overage-utilization']).toBe('1.5');
    expect(spend.counted).toEqual([]);
  });

  it('bounded holds the output that is expected, and never more than max_tokens', async () => {
    // 16,384 tokens are expected at first: 0.41 dollars.
    const spend = await bed({ limits: [limit({ amount: DOLLAR / 2n, mode: 'bounded' })] });
    const principal = somebody();
    await spend.admit(callOf({ principal, maxTokens: 64_000 }));
    await refusal(() => spend.admit(callOf({ principal, maxTokens: 64_000 })));
    const short = await spend.admit(callOf({ principal, maxTokens: 1_000 }));
    answer(short, { input_tokens: 1, output_tokens: 10 });
  });

  it('bounded gives up web searches before anything of the answer that is useful', async () => {
    const lowered = async (amount: bigint) => {
      const limits = [limit({ amount, mode: 'bounded', whenShort: 'shrink_output' })];
      const spend = await bed({ limits, count: () => 10 });
      const tools = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }];
      const { body } = await spend.admit(callOf({ maxTokens: 64_000, body: { tools } }));
      const sent = JSON.parse(String(body)) as { max_tokens: number; tools: { max_uses: number }[] };
      return [sent.max_tokens, sent.tools[0]?.max_uses];
    };
    expect(await lowered((DOLLAR * 7n) / 10n)).toEqual([16_384, 1]);
    // Twice 523 tokens and 30,000 of results, written to a cache, and one search; the rest is output.
    const rest = DOLLAR / 2n - ((2n * 523n + 30_000n) * INPUT * 5n) / 4n - DOLLAR / 100n;
    expect(await lowered(DOLLAR / 2n)).toEqual([Number(rest / OUTPUT), 1]);
  });

  it('of tokens counts tokens, without those that were read from a cache', async () => {
    const limits = [limit({ unit: 'tokens', amount: 5_000n })];
    const spend = await bed({ limits });
    const principal = somebody();
    const admitted = await spend.admit(callOf({ principal, maxTokens: 1_000 }));
    const error = await refusal(() => spend.admit(callOf({ principal, maxTokens: 3_000 })));
    expect(error.message).toMatch(
      /up to 5,\d{3} tokens, and \d,\d{3} tokens of your monthly limit of 5,000 tokens is left/,
    );
    answer(admitted, { input_tokens: 100, output_tokens: 20, cache_read_input_tokens: 9_000 });
    const [after] = await windowsOf(spend, limits, principal);
    expect(after?.spent).toBe(120n);
  });
});

describe('while PostgreSQL is away', () => {
  const away: Partial<LedgerStore> = {
    lease: () => Promise.reject(new StoreUnavailableError('away')),
    openWindows: () => Promise.reject(new StoreUnavailableError('away')),
  };
  const broken = (): LedgerStore =>
    new Proxy(stores.store.ledger, {
      get: (target, key: keyof LedgerStore) => away[key] ?? target[key].bind(target),
    });

  it('a request is served and counted later, unless one of its caps fails closed', async () => {
    const open = await bed({ limits: [limit()], store: broken() });
    const admitted = await open.admit(callOf());
    expect(answer(admitted, { input_tokens: 1, output_tokens: 1 })).toBeUndefined();
    expect(open.records).toHaveLength(1);
    expect(open.audit).toEqual([]);

    for (const closed of [
      await bed({
        limits: [limit()],
        store: broken(),
        overrides: { enforcement: { fail_closed_on_error: true, min_output_tokens: 1, max_wait_ms: 0 } },
      }),
      await bed({
        limits: [limit({ failurePolicy: 'open' }), limit({ period: 'daily', failurePolicy: 'closed' })],
        store: broken(),
      }),
    ]) {
      const error = await refusal(() => closed.admit(callOf()));
      expect(error.status).toBe(429);
      expect(error.type).toBe('billing_error');
      expect(error.message).toMatch(/^spend limit unavailable/);
      expect(error.headers).toEqual({
        'anthropic-ratelimit-unified-overage-disabled-reason': 'fetch_error',
        'x-should-retry': 'false',
      });
      expect(closed.audit).toMatchObject([{ event: 'spend.blocked', cause: 'store_unavailable' }]);
    }
    const configured = await bed({
      limits: [limit({ failurePolicy: 'open' })],
      store: broken(),
      overrides: { enforcement: { fail_closed_on_error: true, min_output_tokens: 1, max_wait_ms: 0 } },
    });
    answer(await configured.admit(callOf()), { input_tokens: 1, output_tokens: 1 });
  });

  it('a cap that fails closed lets nobody through by limits that may be old, though the lease has room', async () => {
    let isOutdated = false;
    const areCapsOutdated = (): boolean => isOutdated;
    const closed = await bed({
      limits: [limit({ failurePolicy: 'closed' })],
      overrides: { areCapsOutdated },
    });
    answer(await closed.admit(callOf()), { input_tokens: 1, output_tokens: 1 });
    isOutdated = true;
    expect((await refusal(() => closed.admit(callOf()))).message).toMatch(/^spend limit unavailable/);
    isOutdated = false;
    answer(await closed.admit(callOf()), { input_tokens: 1, output_tokens: 1 });
    isOutdated = true;
    const open = await bed({ limits: [limit({ failurePolicy: 'open' })], overrides: { areCapsOutdated } });
    answer(await open.admit(callOf()), { input_tokens: 1, output_tokens: 1 });
  });
});

describe('however a request ends', () => {
  const open = async () => {
    const limits = [limit()];
    const spend = await bed({ limits });
    const call = callOf({ text: 'x'.repeat(3_850) });
    const admitted = await spend.admit(call);
    // Each byte of the body may be a token, and the upstream adds its own.
    const input = call.request.body.length + 2048;
    return { spend, limits, call, input, observer: admitted.observer };
  };

  it('a refusal of the upstream costs nothing and is on record', async () => {
    const { spend, observer, limits, call } = await open();
    observer.onResponseEnd(endOf({ ending: 'refused', reached: 'declined', status: 400, firstByteMs: null }));
    expect(spend.records).toMatchObject([
      { costNanoUsd: 0n, upstream: 'first', status: 400, outcome: 'complete', firstByteMs: null },
    ]);
    expect((await windowsOf(spend, limits, call.principal))[0]?.spent).toBe(0n);
  });

  it('a client that goes before the answer pays for all that may have been read, at its full price', async () => {
    const { spend, observer, input } = await open();
    observer.onResponseEnd(
      endOf({
        ending: 'client_gone',
        reached: 'unanswered',
        upstream: 'second',
        streamed: true,
        status: 499,
      }),
    );
    expect(spend.records).toMatchObject([
      {
        inputTokens: input,
        outputTokens: 0,
        costNanoUsd: BigInt(input) * INPUT,
        upstream: 'second',
        status: 499,
        outcome: 'partial',
      },
    ]);
  });

  it('and so does one that goes after the headers', async () => {
    const { spend, observer, input } = await open();
    observer.onResponseStart(200, { 'content-type': 'text/event-stream' }, 'first');
    observer.onResponseEnd(endOf({ ending: 'client_gone', streamed: true }));
    expect(spend.records).toMatchObject([{ inputTokens: input, costNanoUsd: BigInt(input) * INPUT }]);
  });

  it('an answer without any count is charged all that it may have been', async () => {
    const { spend, observer, input } = await open();
    observer.onResponseStart(200, { 'content-type': 'application/json' }, 'first');
    observer.onResponseBytes(Buffer.from('{"type":"message","content":[{"type":"text","text":"12345678"}]}'));
    observer.onResponseEnd(endOf());
    expect(spend.records).toMatchObject([{ inputTokens: input, outputTokens: 1000, outcome: 'partial' }]);
  });

  it('an answer that broke off is charged no more output than was asked for', async () => {
    for (const limits of [[], [limit()]]) {
      const spend = await bed({ limits });
      const admitted = await spend.admit(callOf({ maxTokens: 10 }));
      admitted.observer.onResponseStart(200, { 'content-type': 'text/event-stream' }, 'first');
      const delta = {
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text: 'x'.repeat(400) },
      };
      admitted.observer.onResponseBytes(
        Buffer.from(
          'data: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}\n\n' +
            `data: ${JSON.stringify(delta)}\n\n`,
        ),
      );
      admitted.observer.onResponseEnd(endOf({ ending: 'upstream_cut' }));
      expect(spend.records).toMatchObject([
        { inputTokens: 7, outputTokens: 10, costNanoUsd: 7n * INPUT + 10n * OUTPUT, outcome: 'partial' },
      ]);
    }
  });

  it('an answer that broke off is charged no more than its output was lowered to', async () => {
    const spend = await bed({
      limits: [limit({ amount: DOLLAR / 5n, whenShort: 'shrink_output' })],
      count: () => 10,
    });
    const admitted = await spend.admit(callOf({ maxTokens: 32_000 }));
    const { max_tokens: lowered } = JSON.parse(String(admitted.body)) as { max_tokens: number };
    admitted.observer.onResponseStart(200, { 'content-type': 'application/json' }, 'first');
    admitted.observer.onResponseBytes(
      Buffer.from(`{"type":"message","content":[{"type":"text","text":"${'x'.repeat(100_000)}`),
    );
    admitted.observer.onResponseEnd(endOf({ ending: 'upstream_cut' }));
    expect(spend.records).toMatchObject([{ outputTokens: lowered, outcome: 'partial' }]);
  });

  it('an empty answer costs nothing', async () => {
    const { spend, observer } = await open();
    observer.onResponseStart(200, { 'content-type': 'text/html' }, 'first');
    observer.onResponseEnd(endOf());
    expect(spend.records).toMatchObject([{ costNanoUsd: 0n }]);
  });

  it('nothing is on record of what reached nobody, and nothing stays held', async () => {
    const { spend, observer, limits, call } = await open();
    observer.onResponseEnd(endOf({ ending: 'refused', reached: 'nowhere', upstream: null, status: 502 }));
    expect(spend.records).toEqual([]);
    await spend.ledger.close(2_000);
    expect((await windowsOf(spend, limits, call.principal))[0]).toMatchObject({ spent: 0n, held: 0n });
  });

  it('pictures are not taken for text', async () => {
    const spend = await bed();
    const source = { type: 'base64', media_type: 'image/png', data: 'A'.repeat(100_000) };
    const body = { messages: [{ role: 'user', content: [{ type: 'image', source }] }], system: 'be brief' };
    const admitted = await spend.admit(callOf({ body }));
    admitted.observer.onResponseEnd(endOf({ ending: 'client_gone', reached: 'unanswered', status: 499 }));
    expect(spend.records[0]?.inputTokens).toBeGreaterThan(1000);
    expect(spend.records[0]?.inputTokens).toBeLessThan(2000);
  });

  it('a cap that was set meanwhile counts it', async () => {
    const spend = await bed();
    const principal = somebody();
    const admitted = await spend.admit(callOf({ principal }));
    const limits = [limit()];
    spend.setLimits(limits);
    // Somebody else's replica has opened its window already.
    const [cap] = snapshotOf(limits).resolve(principal, Date.now());
    await stores.store.ledger.openWindows(cap === undefined ? [] : [cap.window]);
    answer(admitted, { input_tokens: 1000, output_tokens: 10 });
    expect((await windowsOf(spend, limits, principal))[0]?.spent).toBe(1000n * INPUT + 10n * OUTPUT);
  });
});

describe('headers', () => {
  it('say how a cap stands when the answer begins', async () => {
    const pool = limit({
      scope: { type: 'rbac_group', group: `eng-${randomUUID()}` },
      sharing: 'pooled',
      amount: 5n * DOLLAR,
    });
    const group = pool.scope.type === 'rbac_group' ? pool.scope.group : '';
    const spend = await bed({ limits: [pool] });
    const principal = somebody([group]);
    const first = await spend.admit(callOf({ principal }));
    expect(answer(first, { input_tokens: 0, output_tokens: 155_000 })).toMatchObject({
      'anthropic-ratelimit-unified-status': 'allowed',
      'anthropic-ratelimit-unified-overage-utilization': '0',
    });
    await spend.settled();
    const second = await spend.admit(callOf({ principal }));
    const headers = answer(second, { input_tokens: 0, output_tokens: 1 });
    expect(headers).toMatchObject({
      'anthropic-ratelimit-unified-status': 'allowed_warning',
      'anthropic-ratelimit-unified-representative-claim': 'overage',
      'anthropic-ratelimit-unified-overage-status': 'allowed_warning',
      'anthropic-ratelimit-unified-overage-utilization': '0.78',
      'anthropic-ratelimit-unified-overage-surpassed-threshold': '0.75',
      'anthropic-ratelimit-unified-overage-scope': 'group_pool',
    });
  });
});
