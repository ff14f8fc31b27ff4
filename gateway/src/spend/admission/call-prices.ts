import { resolveModel } from '@claude-gateway/contract';
import type { Iteration, PriceBook, Rates } from '../types.ts';
import type { AdmissionCall, Candidate } from './call.ts';

/** What one request is billed by, wherever it was answered. */
export class CallPrices {
  readonly #prices: PriceBook;
  readonly #call: AdmissionCall;

  constructor(prices: PriceBook, call: AdmissionCall) {
    this.#prices = prices;
    this.#call = call;
  }

  /** Those of the request's model, at the upstream that answered or had it; at the first one where none did. */
  at(upstream: string | null): Rates {
    const answered = this.#answeredBy(upstream);
    return this.#prices.rates(answered.upstream.name, this.#call.model, answered.model);
  }

  /** One sampling, in nano-USD: by the model that it names, and by the dearest when nobody knows that. */
  costOf(iteration: Iteration, upstream: string | null, fastMode: boolean, usInference: boolean): bigint {
    const rates = this.#named(iteration.model, upstream);
    if (rates !== undefined) return rates.cost(iteration, fastMode, usInference);
    const { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = iteration;
    return this.#prices.dearest(this.#answeredBy(upstream).upstream.name).ceiling({
      inputTokens: inputTokens + cacheReadTokens + cacheWrite5mTokens + cacheWrite1hTokens,
      outputTokens,
      webSearches: 0,
      cacheWrites: cacheWrite1hTokens > 0 ? '1h' : cacheWrite5mTokens > 0 ? '5m' : 'none',
      fastMode,
      usInference,
    });
  }

  /** @param name What the upstream calls a model. @returns undefined for one that has no price. */
  #named(name: string | undefined, upstream: string | null): Rates | undefined {
    const { model, request } = this.#call;
    const answered = this.#answeredBy(upstream);
    const at = answered.upstream.name;
    if (name === undefined || name === answered.model || isSameModel(name, model)) return this.at(upstream);
    for (const { canonical, upstreamModels } of request.otherModels) {
      const there = upstreamModels.get(at) ?? canonical;
      if (name === there || isSameModel(name, canonical)) return this.#prices.rates(at, canonical, there);
    }
    const rates = this.#prices.rates(at, name, name);
    return rates.known ? rates : undefined;
  }

  #answeredBy(upstream: string | null): Candidate {
    const { candidates, model } = this.#call;
    const found = candidates.find((candidate) => candidate.upstream.name === upstream) ?? candidates[0];
    return found ?? { upstream: { name: '' }, model };
  }
}

/** Whether the upstream's name for a model means another name's model. */
function isSameModel(name: string, model: string): boolean {
  return (resolveModel(name)?.id ?? name) === (resolveModel(model)?.id ?? model);
}
