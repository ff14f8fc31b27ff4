import { resolveModel } from '@claude-gateway/contract';
import type { Iteration, PriceBook, Rates } from '../types.ts';
import type { AdmissionCall, Candidate } from './call.ts';

/** What one request is billed by, wherever it was answered. */
export class CallPrices {
  readonly #prices: PriceBook;
  readonly #call: AdmissionCall;
  readonly #strict: boolean;

  /** @param strict A strict limit pays: what nobody knows the price of costs the most that there is. */
  constructor(prices: PriceBook, call: AdmissionCall, strict: boolean) {
    this.#prices = prices;
    this.#call = call;
    this.#strict = strict;
  }

  /** Those of the request's model, at the upstream that answered or had it; at the first one where none did. */
  at(upstream: string | null): Rates {
    const answered = this.#answeredBy(upstream);
    return this.#rates(answered.upstream.name, this.#call.model, answered.model);
  }

  /** One sampling, in nano-USD: by the model that it names, and by the dearest when nobody knows that. */
  costOf(iteration: Iteration, upstream: string | null, fastMode: boolean, usInference: boolean): bigint {
    return this.#named(iteration.model, upstream).cost(iteration, fastMode, usInference);
  }

  /** @param name What the upstream calls a model. */
  #named(name: string | undefined, upstream: string | null): Rates {
    const { model, request } = this.#call;
    const answered = this.#answeredBy(upstream);
    const at = answered.upstream.name;
    if (name === undefined || name === answered.model || isSameModel(name, model)) return this.at(upstream);
    for (const { canonical, upstreamModels } of request.otherModels) {
      const there = upstreamModels.get(at) ?? canonical;
      if (name === there || isSameModel(name, canonical)) return this.#rates(at, canonical, there);
    }
    // Nobody has named it.
    return this.#prices.rates(at, name, name).strict;
  }

  #rates(at: string, model: string, upstreamModel: string): Rates {
    const rates = this.#prices.rates(at, model, upstreamModel);
    return this.#strict ? rates.strict : rates;
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
