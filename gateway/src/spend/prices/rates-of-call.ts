import { asksUnknownModel } from '../bound/unknown-model.ts';
import type { BoundRequest } from '../bound/request.ts';
import type { PriceBook, Rates } from '../types.ts';

/** A request that is to be priced, with the upstreams that may answer it and what its model is called there. */
export interface PricedRequest {
  readonly request: BoundRequest;
  /** The catalog's name. */
  readonly model: string;
  readonly candidates: readonly { readonly upstream: { readonly name: string }; readonly model: string }[];
}

/**
 * What a request may be billed by: the rates of every model that it names, at every upstream that may answer, and those
 * of the dearest where a model may be asked that it does not name. Its ceiling is the highest of theirs.
 */
export function ratesOfCall(
  { request, model, candidates }: PricedRequest,
  prices: PriceBook,
): readonly Rates[] {
  const all: Rates[] = [];
  const unknown = asksUnknownModel(request);
  for (const { upstream, model: upstreamModel } of candidates) {
    all.push(prices.rates(upstream.name, model, upstreamModel));
    for (const { canonical, upstreamModels } of request.otherModels) {
      all.push(prices.rates(upstream.name, canonical, upstreamModels.get(upstream.name) ?? canonical));
    }
    if (unknown) all.push(prices.dearest(upstream.name));
  }
  return all;
}
