import { describe, expect, it } from '@jest/globals';
import { CATALOG } from '@claude-gateway/contract';
import type { TokenUsage } from '@claude-gateway/prisma';
import { NO_USAGE } from '../no-usage.ts';
import type { RequestBound } from '../types.ts';
import { createPriceBook, type PriceBookOptions } from './price-book.ts';
import { seededBelow } from '../../testing/random.ts';

const MILLION = 1_000_000;
const A_MILLION_OF_EACH: TokenUsage = {
  inputTokens: MILLION,
  outputTokens: MILLION,
  cacheReadTokens: MILLION,
  cacheWrite5mTokens: MILLION,
  cacheWrite1hTokens: MILLION,
  webSearches: 0,
};
const LIST = createPriceBook({ pricing: undefined });
const CENT = 10_000_000n;

function inputCents(
  options: PriceBookOptions,
  model: string,
  upstreamModel: string,
  upstream = 'anthropic',
): number {
  const cost = createPriceBook(options)
    .rates(upstream, model, upstreamModel)
    .cost({ ...NO_USAGE, inputTokens: MILLION }, false);
  return Number(cost) / Number(CENT);
}

describe('list prices', () => {
  // Cents that the reference 2.1.330 metered for a million tokens of each of the five kinds.
  it.each([
    ['claude-opus-4-8', 4675, 9350],
    ['claude-opus-4-7', 4675, 28_050],
    ['claude-opus-4-6', 4675, 28_050],
    ['claude-opus-5', 4675, 9350],
    ['claude-opus-5-5', 3720, 7440],
    ['claude-opus-4-1-20250805', 14_025, 14_025],
    ['claude-opus-4-5-20251101', 4675, 4675],
    ['claude-opus-4-20250514', 14_025, 14_025],
    ['claude-fable-5', 9350, 9350],
    ['claude-fable-5-1', 9275, 9275],
    ['claude-fable-5-2', 7420, 14_840],
    ['claude-sonnet-5-5', 1860, 1860],
    ['claude-sonnet-5', 1870, 1870],
    ['claude-sonnet-4-6', 2805, 2805],
    ['claude-sonnet-4-5-20250929', 2805, 2805],
    ['claude-sonnet-4-20250514', 2805, 2805],
    ['claude-haiku-5-5', 467.5, 467.5],
    ['claude-3-7-sonnet-20250219', 2805, 2805],
    ['claude-3-5-haiku-20241022', 748, 748],
    ['claude-3-5-sonnet-20241022', 2805, 2805],
  ])('%s is %d cents for all kinds, %d in fast mode', (model, standard, fast) => {
    const rates = LIST.rates('anthropic', model, model);
    expect(rates.known).toBe(true);
    expect(Number(rates.cost(A_MILLION_OF_EACH, false)) / Number(CENT)).toBe(standard);
    expect(Number(rates.cost(A_MILLION_OF_EACH, true)) / Number(CENT)).toBe(fast);
  });

  it('tells kinds apart, and writes by how long they live', () => {
    const rates = LIST.rates('anthropic', 'claude-opus-4-8', 'claude-opus-4-8');
    const one = (usage: Partial<TokenUsage>, fast = false) => rates.cost({ ...NO_USAGE, ...usage }, fast);
    expect(one({ inputTokens: 1 })).toBe(5000n);
    expect(one({ outputTokens: 1 })).toBe(25_000n);
    expect(one({ cacheReadTokens: 1 })).toBe(500n);
    expect(one({ cacheWrite5mTokens: 1 })).toBe(6250n);
    expect(one({ cacheWrite1hTokens: 1 })).toBe(10_000n);
    expect(one({ webSearches: 1 })).toBe(CENT);
    expect(one({ cacheWrite1hTokens: 1 }, true)).toBe(20_000n);
    expect(one({ webSearches: 1 }, true)).toBe(CENT);
  });

  // What the reference metered for these, in cents.
  it.each([
    [{ inputTokens: 100_000, outputTokens: 1000 }, 1.05],
    [{ inputTokens: 100_001, outputTokens: 1000 }, 5.25005],
    [{ inputTokens: 60_000, cacheReadTokens: 60_000, outputTokens: 1000 }, 3.55],
    [{ inputTokens: 60_000, cacheWrite5mTokens: 60_000, outputTokens: 1000 }, 7],
    [{ inputTokens: 99_000, outputTokens: 99_000 }, 5.94],
    [{ outputTokens: MILLION }, 50],
    [{ inputTokens: 10_000 }, 0.1],
    [{ cacheReadTokens: 10_000 }, 0.01],
    [{ cacheWrite5mTokens: 10_000 }, 0.125],
    [{ cacheWrite1hTokens: 10_000 }, 0.2],
  ])('claude-haiku-5-5 is dearer for long prompts: %j', (usage, cents) => {
    const rates = LIST.rates('anthropic', 'claude-haiku-5-5', 'claude-haiku-5-5');
    expect(rates.cost({ ...NO_USAGE, ...usage }, false)).toBe(BigInt(Math.round(cents * 1e7)));
    expect(rates.cost({ ...NO_USAGE, ...usage }, true)).toBe(BigInt(Math.round(cents * 1e7)));
  });

  it('prices every model of the catalog', () => {
    for (const { id, providers } of CATALOG) {
      for (const upstreamModel of Object.values(providers)) {
        expect(LIST.rates('x', id, upstreamModel)).toMatchObject({ known: true });
      }
    }
  });

  it('takes what is no count for none', () => {
    const rates = LIST.rates('anthropic', 'claude-opus-4-8', 'claude-opus-4-8');
    expect(rates.cost({ ...NO_USAGE, inputTokens: -5, outputTokens: NaN }, false)).toBe(0n);
    expect(rates.cost({ ...NO_USAGE, inputTokens: 0.5 }, false)).toBe(5000n);
  });
});

describe('which model a name is', () => {
  // Cents that the reference metered for a million tokens of input of a row in `models` with this upstream_model.
  it.each([
    ['claude-fable-5', 1000],
    ['CLAUDE-FABLE-5', 1000],
    [
      'arn:aws:bedrock:us-east-1:111111111111:application-inference-profile/us.anthropic.claude-fable-5',
      1000,
    ],
    ['arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-fable-5', 1000],
    ['arn:aws:bedrock:us-east-1:111111111111:inference-profile/us.anthropic.claude-fable-5', 1000],
    ['eu.anthropic.claude-fable-5', 1000],
    ['apac.anthropic.claude-fable-5-v1:0', 1000],
    ['jp.anthropic.claude-sonnet-4-5-20250929-v1:0', 300],
    ['us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0', 300],
    ['eu.anthropic.claude-opus-4-1-20250805-v1:0', 1500],
    ['claude-fable-5@20260101', 1000],
    ['claude-fable-5-20260101', 1000],
    ['claude-fable-5-2026', 1000],
    ['claude-fable-5-latest', 1000],
    ['claude-fable-5[1m]', 1000],
    ['my-claude-fable-5-deployment', 1000],
    ['anthropic/claude-fable-5', 1000],
    ['publishers/anthropic/models/claude-fable-5', 1000],
    ['claude-opus-4', 1500],
    ['claude-opus-4-0', 1500],
    ['claude-opus-4.1', 1500],
    ['claude-opus-4-1x', 1500],
    ['claude-sonnet-4-0', 300],
    ['claude-opus-5-5-20260909', 400],
    ['claude-opus-4-7-fast', 500],
    ['claude-3-5-sonnet-20240620', 300],
    ['claude-3-7-sonnet-latest', 300],
    ['claude-mythos-5', 1000],
    ['claude-sonnet-5-5-claude-haiku-5-5', 200],
    ['claude-haiku-5-5-or-claude-fable-5', 1000],
    ['claude-haiku-4-5-and-claude-opus-4-1', 1500],
  ])('%s costs %d', (name, cents) => {
    expect(inputCents({ pricing: undefined }, 'row', name)).toBe(cents);
    expect(LIST.rates('anthropic', 'row', name).known).toBe(true);
  });

  it.each([
    'claude-fable-5-9',
    'claude-fable-5.5',
    'claude-fable-51',
    'claude-opus-4-9',
    'claude-opus-4-12',
    'claude-opus-41',
    'claude-haiku-5',
    'claude-3-opus-20240229',
    'claude-4-opus',
    'opus-4-1',
    'arn:aws:bedrock:us-east-1:111111111111:application-inference-profile/abcdefg',
    'some-deployment',
    'gpt-9',
    'constructor',
    '',
  ])('%j is the unknown tier', (name) => {
    expect(inputCents({ pricing: undefined }, 'row', name)).toBe(500);
    expect(LIST.rates('anthropic', 'row', name).known).toBe(false);
  });

  it('takes what the upstream calls it before what it is called here, where that says more', () => {
    expect(inputCents({ pricing: undefined }, 'claude-sonnet-5', 'claude-haiku-5-5')).toBe(50);
    expect(inputCents({ pricing: undefined }, 'claude-opus-4-1-20250805', 'opus41-deployment')).toBe(1500);
    expect(
      inputCents(
        { pricing: undefined },
        'claude-opus-4-1-20250805',
        'arn:aws:bedrock:us-east-1:111111111111:application-inference-profile/abcdefg',
      ),
    ).toBe(1500);
  });

  it('reports an unknown name once', () => {
    const reported: string[] = [];
    const book = createPriceBook({
      pricing: undefined,
      onUnknown: (upstream, model) => reported.push(`${upstream}/${model}`),
    });
    for (const upstream of ['a', 'a', 'b']) book.rates(upstream, 'row', 'deployment');
    book.rates('a', 'row', 'other');
    book.rates('a', 'row', 'claude-opus-5');
    expect(reported).toEqual(['a/deployment', 'a/other']);
  });

  it('answers a second question with the same object', () => {
    expect(LIST.rates('a', 'claude-opus-5', 'claude-opus-5')).toBe(
      LIST.rates('a', 'claude-opus-5', 'claude-opus-5'),
    );
  });
});

describe('overrides', () => {
  const flat = (upstream: string, model: string, input: number) => ({
    upstream,
    model,
    input,
    output: 11,
    cache_read: 13,
    cache_write: 17,
  });

  it('set all prices of a model, in fast mode too, whatever a write lives for; the multiplier applies on top', () => {
    const book = createPriceBook({
      pricing: { multiplier: 2, overrides: [flat('Prim', 'claude-opus-4-8', 7)] },
    });
    const rates = book.rates('Prim', 'claude-opus-4-8', 'claude-opus-4-8');
    for (const fast of [false, true]) {
      expect(rates.cost({ ...NO_USAGE, inputTokens: 1 }, fast)).toBe(14_000n);
      expect(rates.cost({ ...NO_USAGE, outputTokens: 1 }, fast)).toBe(22_000n);
      expect(rates.cost({ ...NO_USAGE, cacheReadTokens: 1 }, fast)).toBe(26_000n);
      expect(rates.cost({ ...NO_USAGE, cacheWrite5mTokens: 1 }, fast)).toBe(34_000n);
      expect(rates.cost({ ...NO_USAGE, cacheWrite1hTokens: 1 }, fast)).toBe(34_000n);
      expect(rates.cost({ ...NO_USAGE, webSearches: 1 }, fast)).toBe(2n * CENT);
    }
  });

  const models = [
    'my-fable',
    'row-a',
    'row-c',
    'row-e',
    'row-g',
    'row-h',
    'My-Dep',
    'claude-opus-4-1',
    'claude-sonnet-4-5',
  ].map((id) => ({ id }));
  // [overrides, model as the catalog calls it, upstream_model, which override], as the reference chose.
  it.each([
    [['claude-haiku-4-5'], 'claude-haiku-4-5-20251001', 'claude-haiku-4-5-20251001', 0],
    [['claude-sonnet-4-5-20250929'], 'claude-sonnet-4-5-20250929', 'claude-sonnet-4-5-20250929', 0],
    [['us.anthropic.claude-opus-4-6-v1'], 'claude-opus-4-6', 'claude-opus-4-6', 0],
    [['CLAUDE-OPUS-4-7'], 'claude-opus-4-7', 'claude-opus-4-7', 0],
    [['my-fable', 'claude-fable-5'], 'my-fable', 'claude-fable-5', 1],
    [['row-a', 'claude-fable-5'], 'row-a', 'eu.anthropic.claude-fable-5-v1:0', 0],
    [
      ['claude-sonnet-4-6', 'claude-opus-4-1'],
      'claude-opus-4-1-20250805',
      'eu.anthropic.claude-sonnet-4-6',
      1,
    ],
    [
      ['claude-sonnet-4-5-20250929', 'claude-haiku-4-5'],
      'claude-sonnet-4-5-20250929',
      'eu.anthropic.claude-haiku-4-5-20251001-v1:0',
      1,
    ],
    [['claude-opus-4-1-20250805'], 'claude-opus-4-1-20250805', 'a-deployment', 0],
    [['a-deployment'], 'claude-opus-4-1-20250805', 'a-deployment', 0],
    [['my-dep'], 'My-Dep', 'Some-Deployment', 0],
    [['some-deployment'], 'My-Dep', 'Some-Deployment', 0],
    [['claude-opus-4-7', 'row-g'], 'row-g', 'us.anthropic.claude-opus-4-7', 1],
    [['claude-haiku-5-5'], 'row-h', 'claude-haiku-5-5@20260101', 0],
    [['us.anthropic.claude-opus-4-8'], 'row-c', 'anthropic.claude-opus-4-8', 0],
    [
      ['us.anthropic.claude-opus-4-8'],
      'row-c',
      'arn:aws:bedrock:us-east-1:111111111111:inference-profile/us.anthropic.claude-opus-4-8',
      0,
    ],
    [['dep-c-d'], 'row-c', 'dep-c', undefined],
    [['foo-claude-fable-5-1-bar'], 'claude-fable-5-1', 'claude-fable-5-1', undefined],
    [['eu.anthropic.claude-fable-5-1'], 'claude-fable-5-1', 'claude-fable-5-1', undefined],
  ])('of %j for %s at an upstream that calls it %s', (names, model, upstreamModel, chosen) => {
    const pricing = { multiplier: 1, overrides: names.map((name, i) => flat('Prim', name, 1001 + i)) };
    const cents = inputCents({ pricing, models }, model, upstreamModel, 'Prim');
    const listed = inputCents({ pricing: undefined }, model, upstreamModel, 'Prim');
    expect(cents).toBe(chosen === undefined ? listed : (1001 + chosen) * 100);
    expect(inputCents({ pricing, models }, model, upstreamModel, 'prim')).toBe(listed);
  });

  it('make a model known', () => {
    const book = createPriceBook({ pricing: { multiplier: 1, overrides: [flat('a', 'deployment', 3)] } });
    expect(book.rates('a', 'row', 'deployment').known).toBe(true);
    expect(book.rates('b', 'row', 'deployment').known).toBe(false);
  });
});

describe('exactness', () => {
  it('takes decimals as they are written and rounds once, half up', () => {
    const book = createPriceBook({ pricing: { multiplier: 0.1, overrides: [] } });
    const rates = book.rates('a', 'claude-haiku-5-5', 'claude-haiku-5-5');
    // 0.01 USD per million times 0.1 is 1 nano-USD; 0.125 is 12.5.
    expect(rates.cost({ ...NO_USAGE, cacheReadTokens: 3 }, false)).toBe(3n);
    expect(rates.cost({ ...NO_USAGE, cacheWrite5mTokens: 1 }, false)).toBe(13n);
    expect(rates.cost({ ...NO_USAGE, cacheWrite5mTokens: 2 }, false)).toBe(25n);
    expect(rates.cost({ ...NO_USAGE, cacheWrite5mTokens: 3 }, false)).toBe(38n);
    expect(
      createPriceBook({ pricing: { multiplier: 1e-7, overrides: [] } })
        .rates('a', 'claude-opus-4-8', 'claude-opus-4-8')
        .cost({ ...NO_USAGE, inputTokens: MILLION }, false),
    ).toBe(500n);
  });

  it('is never above the ceiling, however a request within the bound is billed', () => {
    const random = seededBelow(20_261_123);
    const models = [...CATALOG.map(({ id }) => id), 'unknown', 'overridden'];
    for (let i = 0; i < 4000; i++) {
      const decimal = (): number => Math.max(1, random(10_000)) / 10 ** random(7);
      const book = createPriceBook({
        pricing: {
          multiplier: random(3) === 0 ? 1 : Math.max(1, random(99_999)) / 10_000,
          overrides: [
            {
              upstream: 'a',
              model: 'overridden',
              input: decimal(),
              output: decimal(),
              cache_read: decimal(),
              cache_write: decimal(),
            },
          ],
        },
      });
      const model = models[random(models.length)] ?? '';
      const rates = book.rates('a', model, model);
      const bound: RequestBound = {
        inputTokens: random([3, 200_000, 1_000_000][random(3)] ?? 0),
        outputTokens: random(128_000),
        webSearches: random(3) === 0 ? random(10) : 0,
        cacheWrites: (['none', '5m', '1h'] as const)[random(3)] ?? 'none',
        fastMode: random(2) === 0,
      };
      for (let j = 0; j < 5; j++) {
        const usage = usageWithin(bound, random);
        for (const fast of bound.fastMode ? [false, true] : [false]) {
          expect(rates.ceiling(bound) >= rates.cost(usage, fast)).toBe(true);
        }
      }
    }
  });

  it('is a tenth more where it may have to be answered in one place, rounded up', () => {
    const rates = createPriceBook({ pricing: { multiplier: 0.0000001, overrides: [] } }).rates(
      'anthropic',
      'claude-opus-4-8',
      'claude-opus-4-8',
    );
    const bound: RequestBound = {
      inputTokens: 10_000_001,
      outputTokens: 0,
      webSearches: 0,
      cacheWrites: 'none',
      fastMode: false,
      usInference: true,
    };
    // 5000 nano-USD a token, a ten-millionth of that, 1.1 times: 5500.00055.
    expect(rates.ceiling(bound)).toBe(5501n);
    expect(rates.ceiling({ ...bound, usInference: false })).toBe(5001n);
  });

  it('of the dearest model is that of no other model less', () => {
    const pricing = {
      multiplier: 1,
      overrides: [{ upstream: 'here', model: 'mine', input: 900, output: 1, cache_read: 0, cache_write: 0 }],
    } satisfies PriceBookOptions['pricing'];
    const reported: string[] = [];
    const book = createPriceBook({ pricing, onUnknown: (_upstream, model) => reported.push(model) });
    const bound: RequestBound = {
      inputTokens: 1000,
      outputTokens: 1000,
      webSearches: 1,
      cacheWrites: '1h',
      fastMode: true,
    };
    for (const upstream of ['here', 'there']) {
      const dearest = book.dearest(upstream).ceiling(bound);
      for (const { id } of CATALOG) {
        expect(dearest >= book.rates(upstream, id, id).ceiling(bound)).toBe(true);
      }
      expect(dearest >= book.rates(upstream, 'mine', 'mine').ceiling(bound)).toBe(true);
    }
    // What has no price is held and charged that where a limit is strict; what has one, what it costs.
    expect(book.rates('here', 'conjured', 'conjured').strict).toBe(book.dearest('here'));
    const opus = book.rates('here', 'claude-opus-4-8', 'claude-opus-4-8');
    expect(opus.strict).toBe(opus);
    const used = { ...NO_USAGE, inputTokens: 1000, cacheReadTokens: 1000, outputTokens: 100 };
    expect(book.dearest('here').cost(used, true)).toBeLessThanOrEqual(
      book.dearest('here').ceiling({ ...bound, inputTokens: 2000 }),
    );
    // Not for what nobody asked for.
    expect(reported).toEqual(['mine', 'conjured']);
  });

  it('has a ceiling that is reached', () => {
    const rates = LIST.rates('a', 'claude-opus-4-8', 'claude-opus-4-8');
    const bound = {
      inputTokens: 1000,
      outputTokens: 10,
      webSearches: 2,
      cacheWrites: '1h',
      fastMode: true,
    } as const;
    expect(rates.ceiling(bound)).toBe(
      rates.cost({ ...NO_USAGE, cacheWrite1hTokens: 1000, outputTokens: 10, webSearches: 2 }, true),
    );
  });
});

/** A random split of a request's input over the kinds that it may be billed as; often all of it. */
function usageWithin(bound: RequestBound, random: (below: number) => number): TokenUsage {
  let left = bound.inputTokens;
  const take = (): number => {
    const amount = random(3) === 0 ? left : random(left + 1);
    left -= amount;
    return amount;
  };
  const writes5m = bound.cacheWrites === 'none' ? 0 : take();
  const writes1h = bound.cacheWrites === '1h' ? take() : 0;
  const inputTokens = take();
  return {
    cacheWrite5mTokens: writes5m,
    cacheWrite1hTokens: writes1h,
    inputTokens,
    cacheReadTokens: take(),
    outputTokens: random(2) === 0 ? bound.outputTokens : random(bound.outputTokens + 1),
    webSearches: random(bound.webSearches + 1),
  };
}
