import { CatalogPrices, type BilledTokens } from '../spend/prices.ts';

/** What one sampling of one model is billed for. */
export interface BilledSampling {
  readonly model: string;
  tokens: BilledTokens;
}

/** What a cloud bills for one request, whoever may still listen. */
export interface Bill {
  /** In order of arrival. */
  readonly number: number;
  /** Of the request; see {@link markerOf}. */
  readonly marker: string;
  /** What stands before `/v1` in the path of the request, without slashes: which of several upstreams it came for. */
  readonly upstream: string;
  readonly samplings: BilledSampling[];
  /** Answered in one place only, which costs a tenth more (tokens, not searches). */
  readonly inOnePlace: boolean;
  /** What it costs before anything is written, in nano-USD. */
  readonly costOfReading: bigint;
  /** It is written, or its tools run, before its first byte goes out. */
  readonly worksUnseen: boolean;
  /** What was billed when the connection went away under the answer, in nano-USD; undefined while it stands. */
  costWhenGone: bigint | undefined;
  /** `whole`: to its last byte. `broken`: otherwise, by whomever. `refused`: an error, which costs nothing. */
  end: 'open' | 'whole' | 'broken' | 'refused';
}

/** What the cloud looks at in a body. Anything may stand in its members. */
export interface AskedBody {
  readonly model?: unknown;
  readonly max_tokens?: unknown;
  readonly stream?: unknown;
  readonly messages?: unknown;
  readonly system?: unknown;
  readonly tools?: unknown;
  readonly thinking?: unknown;
  readonly output_config?: unknown;
  readonly output_format?: unknown;
  readonly inference_geo?: unknown;
}

export const NO_TOKENS: BilledTokens = {
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  webSearches: 0,
};

const UTF8_BYTES_PER_TOKEN = 3;
/** What the cloud adds itself, for its own prompts. */
const OWN_PROMPT_TOKENS = 300;
const prices = new CatalogPrices();

/** A model that the cloud does not sell is an error, and costs nothing. */
export function isForSale(model: unknown): boolean {
  return typeof model === 'string' && prices.has(model);
}

/** In nano-USD, exactly. */
export function costOf({ samplings, inOnePlace }: Pick<Bill, 'samplings' | 'inOnePlace'>): bigint {
  let cost = 0n;
  for (const { model, tokens } of samplings) {
    const ofTokens = prices.cost(model, { ...tokens, webSearches: 0 });
    // The dearer price has whole nano-USD for each token.
    cost += inOnePlace ? (ofTokens * 11n) / 10n : ofTokens;
    cost += prices.cost(model, { ...NO_TOKENS, webSearches: tokens.webSearches });
  }
  return cost;
}

/**
 * What a gateway has to charge by the docs (ADR 16), in nano-USD: not what was written after its connection was gone, and
 * of a stream without tools that broke off before the gateway had any of it only what was read.
 */
export function dueFor(bill: Bill, hasAnswer: boolean): bigint {
  if (bill.end === 'refused') return 0n;
  return hasAnswer || bill.worksUnseen ? (bill.costWhenGone ?? costOf(bill)) : bill.costOfReading;
}

/** What the free count says of the members that it is sent. */
export function countedInput(body: AskedBody): number {
  const { messages, system, tools, output_config: config, output_format: format } = body;
  return [messages, system, tools, config, format].reduce<number>(
    (sum, member) => sum + tokensOf(member),
    OWN_PROMPT_TOKENS,
  );
}

/** What is billed before anything is written. */
export function inputOf(body: AskedBody, text: string): BilledTokens {
  const input = countedInput(body);
  if (!text.includes('cache_control')) return { ...NO_TOKENS, input };
  return /"ttl"\s*:\s*"1h"/.test(text)
    ? { ...NO_TOKENS, cacheWrite1h: input }
    : { ...NO_TOKENS, cacheWrite5m: input };
}

/** As the Messages API counts it. */
export function usageOf(tokens: BilledTokens): object {
  return {
    input_tokens: tokens.input,
    cache_read_input_tokens: tokens.cacheRead,
    cache_creation_input_tokens: tokens.cacheWrite5m + tokens.cacheWrite1h,
    cache_creation: {
      ephemeral_5m_input_tokens: tokens.cacheWrite5m,
      ephemeral_1h_input_tokens: tokens.cacheWrite1h,
    },
    output_tokens: tokens.output,
    ...(tokens.webSearches === 0 ? {} : { server_tool_use: { web_search_requests: tokens.webSearches } }),
  };
}

function tokensOf(value: unknown): number {
  return value === undefined ? 0 : Math.ceil(Buffer.byteLength(JSON.stringify(value)) / UTF8_BYTES_PER_TOKEN);
}
