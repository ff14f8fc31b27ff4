import {
  CATALOG,
  PRICED_ONLY,
  resolveModel,
  type LongPromptPrices,
  type ModelPrices,
} from '@claude-gateway/contract';

/** A model whose list prices are known. */
export interface PricedModel {
  readonly id: string;
  readonly standard: ModelPrices;
  /** Null where there is no fast mode. */
  readonly fast: ModelPrices | null;
  /** Null where the size of a request does not matter. */
  readonly longPrompt: LongPromptPrices | null;
}

interface Pattern {
  readonly model: PricedModel;
  readonly name: RegExp;
}

/** All models whose list prices are known. */
export const PRICED_MODELS: readonly PricedModel[] = [
  ...CATALOG.flatMap((model): PricedModel[] => {
    const {
      id,
      usd_per_million_tokens: standard,
      fast_mode_usd_per_million_tokens: fast,
      long_prompt: longPrompt,
    } = model;
    return standard === null ? [] : [{ id, standard, fast, longPrompt }];
  }),
  ...Object.entries(PRICED_ONLY).map(([id, standard]) => ({ id, standard, fast: null, longPrompt: null })),
];
const BY_ID: ReadonlyMap<string, PricedModel> = new Map(PRICED_MODELS.map((model) => [model.id, model]));
const PATTERNS: readonly Pattern[] = PRICED_MODELS.map((model) => ({ model, name: patternOf(model.id) }));

/**
 * The model that a name stands for, as far as its price goes: one that the catalog knows, or a name that has one of
 * those in it, as regional inference profiles, their ARNs, dated versions and many deployments have
 * (`eu.anthropic.claude-haiku-4-5-20251001-v1:0`). A name that has several in it is the dearest of them.
 */
export function pricedModel(name: string): PricedModel | undefined {
  const exact = BY_ID.get(resolveModel(name)?.id ?? name.toLowerCase());
  if (exact !== undefined) return exact;
  let found: PricedModel | undefined;
  for (const { model, name: pattern } of PATTERNS) {
    if (pattern.test(name) && (found === undefined || isDearer(model, found))) found = model;
  }
  return found;
}

/** The id without its date, and no other version's: `claude-fable-5` is not in `claude-fable-5-9`. */
function patternOf(id: string): RegExp {
  const undated = id.replace(/-\d{8}$/, '').replaceAll('-', '[-.]');
  return new RegExp(`${undated}(?!\\d)(?![-.][1-9]\\d?(?!\\d))`, 'i');
}

function isDearer(a: PricedModel, b: PricedModel): boolean {
  const by = (prices: ModelPrices): number => Number(prices.input) + Number(prices.output);
  return by(a.standard) > by(b.standard);
}
