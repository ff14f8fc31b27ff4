import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** Tokens that one answer is billed for, by kind. */
export interface BilledTokens {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
  readonly webSearches: number;
}

interface CatalogRates {
  readonly input: string;
  readonly output: string;
  readonly cache_read: string;
  readonly cache_write_5m: string;
  readonly cache_write_1h: string;
}

interface Catalog {
  readonly web_search_usd_per_thousand: string;
  readonly models: readonly {
    readonly id: string;
    readonly aliases: readonly string[];
    readonly usd_per_million_tokens: CatalogRates;
  }[];
}

const CATALOG = resolve(import.meta.dirname, '../../../contract/src/model-catalog.json');

/**
 * What answers cost, worked out from the catalog's data without any code of the gateway's: the second opinion that
 * its records are held against. nano-USD.
 */
export class CatalogPrices {
  readonly #rates = new Map<string, CatalogRates>();
  readonly #webSearch: bigint;

  constructor() {
    const catalog = JSON.parse(readFileSync(CATALOG, 'utf8')) as Catalog;
    for (const { id, aliases, usd_per_million_tokens: rates } of catalog.models) {
      for (const name of [id, ...aliases]) this.#rates.set(name, rates);
    }
    // USD per thousand: times 10^6 is nano-USD for each.
    this.#webSearch = decimal(catalog.web_search_usd_per_thousand, 6);
  }

  has(model: string): boolean {
    return this.#rates.has(model);
  }

  cost(model: string, tokens: BilledTokens): bigint {
    const rates = this.#of(model);
    return (
      BigInt(tokens.input) * rates.input +
      BigInt(tokens.output) * rates.output +
      BigInt(tokens.cacheRead) * rates.cacheRead +
      BigInt(tokens.cacheWrite5m) * rates.cacheWrite5m +
      BigInt(tokens.cacheWrite1h) * rates.cacheWrite1h +
      BigInt(tokens.webSearches) * this.#webSearch
    );
  }

  /** nano-USD for one token of each kind. */
  #of(model: string) {
    const rates = this.#rates.get(model);
    if (rates === undefined) throw new Error(`the catalog has no ${model}`);
    // USD per million tokens: times 10^3 is nano-USD per token.
    return {
      input: decimal(rates.input, 3),
      output: decimal(rates.output, 3),
      cacheRead: decimal(rates.cache_read, 3),
      cacheWrite5m: decimal(rates.cache_write_5m, 3),
      cacheWrite1h: decimal(rates.cache_write_1h, 3),
    };
  }
}

/** `text` times 10^`digits`, exactly. @throws Error when that is no whole number. */
function decimal(text: string, digits: number): bigint {
  const [whole = '', fraction = ''] = text.split('.');
  if (fraction.length > digits) throw new Error(`${text} has more than ${digits} decimals`);
  return BigInt(whole + fraction.padEnd(digits, '0'));
}

/** Tokens that a token cap counts: everything but what was read from a cache. */
export function countedTokens(tokens: BilledTokens): number {
  return tokens.input + tokens.output + tokens.cacheWrite5m + tokens.cacheWrite1h;
}

/** For people. */
export function dollars(nanoUsd: bigint): string {
  const sign = nanoUsd < 0n ? '-' : '';
  const digits = (nanoUsd < 0n ? -nanoUsd : nanoUsd).toString().padStart(10, '0');
  return `${sign}$${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
