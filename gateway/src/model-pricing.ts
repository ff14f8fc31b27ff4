import { CATALOG, type GatewayConfig } from '@claude-gateway/contract';
import type { JsonObject } from './policy/json.ts';
import { createModelPolicy } from './policy/models.ts';
import type { PolicySource } from './policy/source.ts';
import { findOverride } from './spend/prices/overrides.ts';

/**
 * What clients are told about `pricing`, so that `/cost` shows what the meter counts: the managed setting `modelPricing`,
 * as the reference 2.1.332 sends it. A model has the price of the first upstream that serves it.
 *
 * @returns undefined where the list prices are in force.
 */
export function modelPricing(
  { pricing, models, upstreams }: Pick<GatewayConfig, 'pricing' | 'models' | 'upstreams'>,
  source: PolicySource,
): JsonObject | undefined {
  if (pricing === undefined) return undefined;
  const policy = createModelPolicy(source);
  const overrides: Record<string, JsonObject> = {};
  for (const model of new Set([...CATALOG, ...models].map(({ id }) => id))) {
    const first = upstreams.find(({ name }) => policy.upstreamModel(model, name) !== undefined)?.name;
    if (first === undefined) continue;
    const override = findOverride(pricing.overrides, models, {
      upstream: first,
      model,
      upstreamModel: policy.upstreamModel(model, first) ?? model,
    });
    if (override === undefined) continue;
    const { input, output, cache_read: cacheRead, cache_write: cacheWrite } = override;
    overrides[model] = { input, output, cacheRead, cacheWrite };
  }
  const { multiplier } = pricing;
  if (multiplier === 1 && Object.keys(overrides).length === 0) return undefined;
  return {
    ...(multiplier === 1 ? {} : { multiplier }),
    ...(Object.keys(overrides).length === 0 ? {} : { overrides }),
  };
}
