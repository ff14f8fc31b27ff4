import { resolveModel, type ModelConfig, type PricingConfig } from '@claude-gateway/contract';
import { pricedModel } from './priced-model.ts';

export type PriceOverride = PricingConfig['overrides'][number];

/** A model at an upstream, as the price book is asked about it. */
export interface PricedCall {
  readonly upstream: string;
  /** The catalog's name, or the row's in `models`. */
  readonly model: string;
  readonly upstreamModel: string;
}

/**
 * The override that sets a model's price at an upstream. In this order, letter case aside: it names what the model is
 * called there, it names the row in `models`, it means the model that the upstream's name stands for, it means the
 * model. The same order as the reference's.
 */
export function findOverride(
  overrides: readonly PriceOverride[],
  rows: readonly Pick<ModelConfig, 'id'>[],
  { upstream, model, upstreamModel }: PricedCall,
): PriceOverride | undefined {
  const here = overrides.filter((override) => override.upstream === upstream);
  if (here.length === 0) return undefined;
  const row = rows.find(({ id }) => meaningOf(id) === meaningOf(model))?.id ?? model;
  const named = (name: string) => here.find((override) => sameText(override.model, name));
  const meant = (id: string) => here.find((override) => meaningOf(override.model) === id);
  return (
    named(upstreamModel) ??
    named(row) ??
    meant(pricedModel(upstreamModel)?.id ?? upstreamModel.toLowerCase()) ??
    meant(meaningOf(model))
  );
}

/** What overrides and rows are taken to mean: a built-in model by any of its names, or the name itself. */
function meaningOf(name: string): string {
  return resolveModel(name)?.id ?? name.toLowerCase();
}

function sameText(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
