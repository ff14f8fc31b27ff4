import type { TokenUsage } from '@claude-gateway/prisma';
import type { Rates, RequestBound } from '../types.ts';
import { fractionOf, product, type Fraction } from './fraction.ts';

/** What a token of each kind costs, in nano-USD. */
export interface TokenPrices {
  readonly input: Fraction;
  readonly output: Fraction;
  readonly cacheRead: Fraction;
  readonly cacheWrite5m: Fraction;
  readonly cacheWrite1h: Fraction;
}

export interface PriceList {
  readonly known: boolean;
  readonly standard: TokenPrices;
  /** Absent where fast mode costs what everything else does. */
  readonly fast?: TokenPrices;
  /** What all tokens cost when there are more of input than so many; absent where size does not matter. */
  readonly longPrompt?: { readonly aboveInputTokens: number; readonly prices: TokenPrices };
  /** nano-USD for one. */
  readonly webSearch: Fraction;
  /** Factor on all of them. */
  readonly multiplier: Fraction;
}

/** The prices over one denominator, so that a request is a sum of products and one division. */
interface Scaled {
  readonly input: bigint;
  readonly output: bigint;
  readonly cacheRead: bigint;
  readonly cacheWrite5m: bigint;
  readonly cacheWrite1h: bigint;
  readonly webSearch: bigint;
  /** The dearest way to be billed for a token of input, by what may be written to a cache. */
  readonly dearestInput: Readonly<Record<RequestBound['cacheWrites'], bigint>>;
}

/** Factor on requests that may only be answered in the United States. Source: https://platform.claude.com/docs/en/manage-claude/data-residency */
export const US_INFERENCE = fractionOf('1.1');

/** Makes a price list into {@link Rates}. All arithmetic is of integers, and each result is rounded once. */
export function ratesOf(list: PriceList): Rates {
  const { known, standard, fast, longPrompt } = list;
  const lists = [standard, fast ?? standard, longPrompt?.prices ?? standard].map((prices) =>
    multiplied(prices, list),
  );
  const denominator = lists
    .flatMap((prices): Fraction[] => Object.values({ ...prices }))
    .reduce((most, price) => (price.denominator > most ? price.denominator : most), 1n);
  const [short, quick, long] = lists.map((prices) => scaled(prices, denominator)) as [Scaled, Scaled, Scaled];
  const longAbove = longPrompt?.aboveInputTokens ?? Infinity;
  // How long a request was, and whether it was answered in fast mode, is known afterwards.
  const dearer = {
    short: { standard: short, fast: maximum(short, quick) },
    long: { standard: maximum(short, long), fast: maximum(maximum(short, long), quick) },
  };
  return {
    known,
    get strict() {
      return this;
    },
    cost(usage, fastMode, usInference) {
      const isLong = inputOf(usage) > longAbove;
      const prices = fastMode && fast !== undefined ? quick : isLong ? long : short;
      const tokens = tokensOf(usage, prices);
      const searches = whole(usage.webSearches) * prices.webSearch;
      if (usInference !== true) return rounded(tokens + searches, denominator);
      // Tokens only: a search costs the same everywhere.
      const { numerator: more, denominator: of } = US_INFERENCE;
      return rounded(tokens * more + searches * of, denominator * of);
    },
    ceiling(bound) {
      const mayBe = bound.inputTokens > longAbove ? dearer.long : dearer.short;
      const prices = bound.fastMode ? mayBe.fast : mayBe.standard;
      const total =
        whole(bound.inputTokens) * prices.dearestInput[bound.cacheWrites] +
        whole(bound.outputTokens) * prices.output +
        whole(bound.webSearches) * prices.webSearch;
      if (bound.usInference !== true) return roundedUp(total, denominator);
      return roundedUp(total * US_INFERENCE.numerator, denominator * US_INFERENCE.denominator);
    },
  };
}

function roundedUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

function inputOf(usage: TokenUsage): number {
  return usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;
}

/** Half up. */
function rounded(dividend: bigint, divisor: bigint): bigint {
  return (2n * dividend + divisor) / (2n * divisor);
}

function tokensOf(usage: TokenUsage, prices: Scaled): bigint {
  return (
    whole(usage.inputTokens) * prices.input +
    whole(usage.outputTokens) * prices.output +
    whole(usage.cacheReadTokens) * prices.cacheRead +
    whole(usage.cacheWrite5mTokens) * prices.cacheWrite5m +
    whole(usage.cacheWrite1hTokens) * prices.cacheWrite1h
  );
}

/** Counts come from responses: what is no count is none, and parts of a token are a token. */
function whole(count: number): bigint {
  return count > 0 ? BigInt(Math.ceil(Math.min(count, Number.MAX_SAFE_INTEGER))) : 0n;
}

type PriceKinds = TokenPrices & Pick<PriceList, 'webSearch'>;

function multiplied(prices: TokenPrices, { webSearch, multiplier }: PriceList): PriceKinds {
  return {
    input: product(prices.input, multiplier),
    output: product(prices.output, multiplier),
    cacheRead: product(prices.cacheRead, multiplier),
    cacheWrite5m: product(prices.cacheWrite5m, multiplier),
    cacheWrite1h: product(prices.cacheWrite1h, multiplier),
    webSearch: product(webSearch, multiplier),
  };
}

function scaled(prices: PriceKinds, denominator: bigint): Scaled {
  // Denominators are powers of ten, so the largest is a multiple of all.
  const scale = (price: Fraction): bigint => price.numerator * (denominator / price.denominator);
  const [input, output, cacheRead, cacheWrite5m, cacheWrite1h, webSearch] = [
    scale(prices.input),
    scale(prices.output),
    scale(prices.cacheRead),
    scale(prices.cacheWrite5m),
    scale(prices.cacheWrite1h),
    scale(prices.webSearch),
  ];
  const none = larger(input, cacheRead);
  const short = larger(none, cacheWrite5m);
  const dearestInput = { none, '5m': short, '1h': larger(short, cacheWrite1h) };
  return { input, output, cacheRead, cacheWrite5m, cacheWrite1h, webSearch, dearestInput };
}

function maximum(a: Scaled, b: Scaled): Scaled {
  return {
    input: larger(a.input, b.input),
    output: larger(a.output, b.output),
    cacheRead: larger(a.cacheRead, b.cacheRead),
    cacheWrite5m: larger(a.cacheWrite5m, b.cacheWrite5m),
    cacheWrite1h: larger(a.cacheWrite1h, b.cacheWrite1h),
    webSearch: larger(a.webSearch, b.webSearch),
    dearestInput: {
      none: larger(a.dearestInput.none, b.dearestInput.none),
      '5m': larger(a.dearestInput['5m'], b.dearestInput['5m']),
      '1h': larger(a.dearestInput['1h'], b.dearestInput['1h']),
    },
  };
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
