import {
  UNKNOWN_MODEL_PRICES,
  WEB_SEARCH_USD_PER_THOUSAND,
  type ModelConfig,
  type ModelPrices,
  type PricingConfig,
} from '@claude-gateway/contract';
import type { PriceBook, Rates } from '../types.ts';
import { fractionOf, product, type Fraction } from './fraction.ts';
import { findOverride, type PricedCall, type PriceOverride } from './overrides.ts';
import { PRICED_MODELS, pricedModel } from './priced-model.ts';
import { ratesOf, type PriceList, type TokenPrices } from './rates.ts';

export interface PriceBookOptions {
  /** `pricing` of gateway.yaml; absent, list prices apply. */
  readonly pricing: Pick<PricingConfig, 'multiplier' | 'overrides'> | undefined;
  /** `models` of gateway.yaml: overrides may name a row there. */
  readonly models?: readonly Pick<ModelConfig, 'id'>[];
  /**
   * Called once for each name that an upstream has for a model without a known price. Strict limits hold and charge the
   * dearest of all prices for it, others those of the usual tier.
   *
   * @param model What the upstream calls it.
   */
  readonly onUnknown?: (upstream: string, model: string) => void;
}

const USD_PER_MILLION_TOKENS = fractionOf('1000');
const USD_PER_THOUSAND = fractionOf('1000000');

/**
 * Compiles prices for lookups: the first question about a model at an upstream works them out, every other one is
 * answered from a map. A model is priced as what the upstream calls it, where that says which model it is, and else
 * as the model itself: a deployment or a profile may have any name.
 */
export function createPriceBook(options: PriceBookOptions): PriceBook {
  const multiplier = fractionOf(options.pricing?.multiplier ?? 1);
  const overrides = options.pricing?.overrides ?? [];
  const models = options.models ?? [];
  const webSearch = product(fractionOf(WEB_SEARCH_USD_PER_THOUSAND), USD_PER_THOUSAND);
  const cache = new Map<string, Map<string, Map<string, Rates>>>();
  const reported = new Set<string>();

  const compile = (call: PricedCall): Rates => {
    const list = listOf(call, findOverride(overrides, models, call));
    if (list !== undefined) return ratesOf({ webSearch, multiplier, known: true, ...list });
    if (!reported.has(call.upstreamModel)) {
      reported.add(call.upstreamModel);
      options.onUnknown?.(call.upstream, call.upstreamModel);
    }
    return { ...unknown, strict: dearestAt(call.upstream) };
  };

  const rates = (upstream: string, model: string, upstreamModel: string): Rates => {
    const byName = nested(nested(cache, upstream), model);
    let found = byName.get(upstreamModel);
    if (found === undefined) {
      found = compile({ upstream, model, upstreamModel });
      byName.set(upstreamModel, found);
    }
    return found;
  };
  const unknown = ratesOf({ webSearch, multiplier, known: false, standard: listed(UNKNOWN_MODEL_PRICES) });
  const dearest = new Map<string, Rates>();

  const dearestAt = (upstream: string): Rates => {
    let found = dearest.get(upstream);
    if (found === undefined) {
      // All of these names have a price.
      const names = [
        ...PRICED_MODELS.map(({ id }) => id),
        ...overrides.filter((override) => override.upstream === upstream).map(({ model }) => model),
      ];
      found = dearestOf([unknown, ...names.map((name) => rates(upstream, name, name))]);
      dearest.set(upstream, found);
    }
    return found;
  };
  return { rates, dearest: dearestAt };
}

/** Which is the dearest depends on what is to be paid. */
function dearestOf(all: readonly Rates[]): Rates {
  const most = (price: (rates: Rates) => bigint): bigint =>
    all.map(price).reduce((a, b) => (a > b ? a : b), 0n);
  return {
    known: false,
    get strict() {
      return this;
    },
    cost: (usage, fastMode, usInference) => most((rates) => rates.cost(usage, fastMode, usInference)),
    ceiling: (bound) => most((rates) => rates.ceiling(bound)),
  };
}

/** Undefined where nobody knows the price. */
function listOf(
  { model, upstreamModel }: PricedCall,
  override: PriceOverride | undefined,
): Pick<PriceList, 'standard' | 'fast' | 'longPrompt'> | undefined {
  if (override !== undefined) return { standard: overridden(override) };
  const priced = pricedModel(upstreamModel) ?? pricedModel(model);
  if (priced === undefined) return undefined;
  return {
    standard: listed(priced.standard),
    ...(priced.fast !== null && { fast: listed(priced.fast) }),
    ...(priced.longPrompt !== null && {
      longPrompt: {
        aboveInputTokens: priced.longPrompt.above_input_tokens,
        prices: listed(priced.longPrompt.usd_per_million_tokens),
      },
    }),
  };
}

function listed(prices: ModelPrices): TokenPrices {
  return {
    input: nanoUsd(prices.input),
    output: nanoUsd(prices.output),
    cacheRead: nanoUsd(prices.cache_read),
    cacheWrite5m: nanoUsd(prices.cache_write_5m),
    cacheWrite1h: nanoUsd(prices.cache_write_1h),
  };
}

function overridden(prices: PriceOverride): TokenPrices {
  const cacheWrite = nanoUsd(prices.cache_write);
  return {
    input: nanoUsd(prices.input),
    output: nanoUsd(prices.output),
    cacheRead: nanoUsd(prices.cache_read),
    cacheWrite5m: cacheWrite,
    cacheWrite1h: cacheWrite,
  };
}

function nanoUsd(usdPerMillionTokens: string | number): Fraction {
  return product(fractionOf(usdPerMillionTokens), USD_PER_MILLION_TOKENS);
}

function nested<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let inner = map.get(key);
  if (inner === undefined) map.set(key, (inner = new Map<string, V>()));
  return inner;
}
