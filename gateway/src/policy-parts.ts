import type { GatewayConfig } from '@claude-gateway/contract';
import { modelPricing } from './model-pricing.ts';
import type { Parts } from './parts.ts';
import type { Resources } from './pipeline.ts';
import { LivePolicy } from './policy/live-policy.ts';
import { createRowReader, type PolicyRows, type ServedRows } from './policy/policy-rows.ts';
import type { PolicySource } from './policy/source.ts';
import { RevisionFeed } from './revision-feed.ts';

/** The policies of the configuration and of resources as one, kept current. */
export async function livePolicy(
  config: GatewayConfig,
  publicUrl: string,
  resources: Resources,
  parts: Parts,
): Promise<LivePolicy> {
  const { ledger, log, audit } = resources;
  const rows = await policyRowFeed(resources, parts);
  const source = policySource(config);
  const pricing = modelPricing(config, source);
  return parts.use(
    'policy',
    [source, publicUrl, pricing],
    () =>
      new LivePolicy({
        source,
        options: { publicUrl, ...(pricing === undefined ? {} : { modelPricing: pricing }) },
        rows,
        onSwap: () => ledger.policyChanged(),
        log,
        audit,
      }),
    (policy) => policy.close(),
  );
}

/** Outlives every reload: the last good version of a row must. */
function policyRowFeed(
  { store, log, audit }: Resources,
  parts: Parts,
): Promise<RevisionFeed<PolicyRows, ServedRows>> {
  return parts.use(
    'managed policies',
    null,
    () =>
      RevisionFeed.start({
        rows: store.managedPolicies,
        what: 'managed policies',
        compile: createRowReader({ log, audit }),
        describe: ({ policies }) => ({ managed_policies: policies.length }),
        log,
        audit,
      }),
    (feed) => feed.close(),
  );
}

/** What policy is made from, and nothing else: other changes of the file leave it alone. */
export function policySource(config: GatewayConfig): PolicySource {
  const { session, upstreams, models, auto_include_builtin_models, managed } = config;
  return {
    session: { ttl_hours: session.ttl_hours },
    upstreams: upstreams.map((upstream) => ({
      name: upstream.name,
      provider: upstream.provider,
      region: 'region' in upstream ? upstream.region : undefined,
      models: upstream.models,
    })),
    models,
    auto_include_builtin_models,
    managed,
  };
}
