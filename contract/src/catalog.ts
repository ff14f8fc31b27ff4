import { z } from 'zod';
import data from './model-catalog.json' with { type: 'json' };

/** Where inference can go: the values of `upstreams[].provider`. */
export const PROVIDERS = [
  'anthropic',
  'anthropicAws',
  'anthropicGoogleCloud',
  'bedrock',
  'mantle',
  'vertex',
  'foundry',
] as const;

export type Provider = (typeof PROVIDERS)[number];

/** A price in USD per million tokens as a decimal string; see {@link nanoUsdPerToken}. */
const price = z.string().regex(/^(0|[1-9]\d*)(\.\d{1,3})?$/, 'a decimal with at most three decimals');

const prices = z.strictObject({
  input: price,
  output: price,
  cache_read: price,
  cache_write_5m: price,
  cache_write_1h: price,
});

/** List prices in USD per million tokens, as decimal strings. */
export type ModelPrices = Readonly<z.infer<typeof prices>>;

const longPrompt = z.strictObject({
  above_input_tokens: z.int().positive(),
  usd_per_million_tokens: prices,
});

/** What all tokens of a request cost when its input, of all kinds, is longer than so many tokens. */
export type LongPromptPrices = Readonly<z.infer<typeof longPrompt>>;

const model = z.strictObject({
  id: z.string().min(1),
  aliases: z.array(z.string().min(1)),
  listed: z.boolean(),
  max_input_tokens: z.int().positive().nullable(),
  supports_1m: z.boolean(),
  usd_per_million_tokens: prices.nullable(),
  fast_mode_usd_per_million_tokens: prices.nullable(),
  long_prompt: longPrompt.nullable(),
  providers: z.partialRecord(z.enum(PROVIDERS), z.string().min(1)),
});

/** A model that the gateway knows without configuration. */
export interface CatalogModel {
  /** The id that the Messages API knows, dated where the model is. */
  readonly id: string;
  /** Other first-party spellings: the id without its date. */
  readonly aliases: readonly string[];
  /** Whether model lists show it. Older models are served but not offered. */
  readonly listed: boolean;
  /** Context size in tokens, where known. */
  readonly max_input_tokens: number | null;
  /** Whether Claude Desktop may offer the context of a million tokens. */
  readonly supports_1m: boolean;
  /** List prices; null where they are unknown (then {@link UNKNOWN_MODEL_PRICES} apply). */
  readonly usd_per_million_tokens: ModelPrices | null;
  /** List prices of requests that were answered in fast mode; null where there is no such mode. */
  readonly fast_mode_usd_per_million_tokens: ModelPrices | null;
  /** Null where the size of a request does not matter. */
  readonly long_prompt: LongPromptPrices | null;
  /** Its id at each provider that has it; `bedrock` is the foundation model id. */
  readonly providers: Readonly<Partial<Record<Provider, string>>>;
}

const catalog = z
  .strictObject({
    measured: z.iso.date(),
    source: z.string(),
    units: z.record(z.string(), z.string()),
    unknown_model: prices,
    priced_only: z.record(z.string().min(1), prices),
    web_search_usd_per_thousand: price,
    models: z.array(model),
  })
  .parse(data);

/** Every built-in model, in the order in which model lists show them. */
export const CATALOG: readonly CatalogModel[] = catalog.models;

/** What tokens of a model without a known price cost where no strict limit applies: never nothing. */
export const UNKNOWN_MODEL_PRICES: ModelPrices = catalog.unknown_model;

/** List prices, by name, of models that are not offered but may be what an upstream calls a model. */
export const PRICED_ONLY: Readonly<Record<string, ModelPrices>> = catalog.priced_only;

/** Price of web searches in USD per 1000, as a decimal string. */
export const WEB_SEARCH_USD_PER_THOUSAND: string = catalog.web_search_usd_per_thousand;

const byName = indexNames(catalog.models);

/**
 * Finds a built-in model by any of its names: id, alias, or its id at a provider (`us.anthropic.…`,
 * `claude-haiku-4-5@20251001`); letter case does not matter. Family names (`opus`) and suffixes (`[1m]`) are the
 * client's own shorthand and are not known here, nor are dates that no model has.
 */
export function resolveModel(name: string): CatalogModel | undefined {
  return byName.get(name.toLowerCase());
}

/**
 * The id under which a provider serves a built-in model, or undefined when it does not.
 *
 * @param region The upstream's region. Bedrock serves these models in US and Canadian regions through the
 *   cross-region inference profile `us.…`; elsewhere the operator is expected to name a profile in `models`.
 */
export function providerModelId(
  model: CatalogModel,
  provider: Provider,
  region?: string,
): string | undefined {
  const id = model.providers[provider];
  if (id !== undefined && provider === 'bedrock' && hasUsInferenceProfile(region)) return `us.${id}`;
  return id;
}

/**
 * Converts a price of the catalog (USD per million tokens) into nano-USD per token, exactly.
 *
 * @throws RangeError when the price is not a whole number of nano-USD per token (more than three decimals).
 */
export function nanoUsdPerToken(usdPerMillionTokens: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,3}))?$/.exec(usdPerMillionTokens);
  if (match === null) {
    throw new RangeError(`"${usdPerMillionTokens}" is not a decimal with at most three decimals`);
  }
  const [, whole = '0', fraction = ''] = match;
  return BigInt(whole) * 1000n + BigInt(fraction.padEnd(3, '0'));
}

function hasUsInferenceProfile(region: string | undefined): boolean {
  if (region === undefined) return true;
  return (region.startsWith('us-') && !region.startsWith('us-gov-')) || region.startsWith('ca-');
}

/** @throws Error when two models share a name. */
function indexNames(models: readonly CatalogModel[]): ReadonlyMap<string, CatalogModel> {
  const names = new Map<string, CatalogModel>();
  for (const entry of models) {
    const { bedrock } = entry.providers;
    // Foundry serves deployments, which administrators name; its default equals the alias.
    const spellings = [entry.id, ...entry.aliases, ...Object.values(entry.providers)];
    if (bedrock !== undefined) spellings.push(`us.${bedrock}`);
    for (const name of new Set(spellings.map((spelling) => spelling.toLowerCase()))) {
      if (names.has(name)) throw new Error(`model catalog: two models are called ${name}`);
      names.set(name, entry);
    }
  }
  return names;
}
