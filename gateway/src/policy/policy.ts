import type { Principal } from '../principal.ts';
import { bootstrapBody, compileDesktop, type DesktopConfiguration } from './desktop.ts';
import type { JsonObject } from './json.ts';
import { combinePolicies, type EffectivePolicy, type SettingsDocument } from './managed-settings.ts';
import { createPolicyMatcher } from './matching.ts';
import {
  renderModelList,
  renderModel,
  type ModelList,
  type ModelListQuery,
  type ModelView,
} from './model-list.ts';
import { createModelPolicy, type ModelAccess, type ResolvedModel } from './models.ts';
import type { PolicyOrigin, PolicySource } from './source.ts';
import { policyWarnings } from './warnings.ts';

/** What the composition root knows and a policy needs. */
export interface PolicyOptions {
  /** Where clients reach this gateway (`listen.public_url`): scheme, host, port, no trailing slash. */
  readonly publicUrl: string;
  /** Environment variables that the gateway pushes to every client that gets settings (telemetry). */
  readonly extraEnv?: Readonly<Record<string, string>>;
  /** The setting `modelPricing`, where this gateway does not charge the list prices. */
  readonly modelPricing?: JsonObject;
  /** Whether telemetry is forwarded, so that Claude Desktop is told to export to this gateway. */
  readonly telemetry?: boolean;
}

export type SettingsAnswer =
  | {
      readonly state: 'served';
      readonly document: SettingsDocument;
      /** Policies in effect, the most specific first. */
      readonly indexes: readonly number[];
      /** Those of them that resources brought, in the same order. */
      readonly origins: readonly PolicyOrigin[];
    }
  /** `no_policy`: none matches. `not_for_desktop`: one does, but not for sessions inside Claude Desktop. */
  | { readonly state: 'no_policy' | 'not_for_desktop' };

export type BootstrapAnswer =
  | {
      readonly state: 'served';
      readonly body: JsonObject;
      readonly indexes: readonly number[];
      readonly origins: readonly PolicyOrigin[];
    }
  /** `not_configured`: no policy has a `desktop` block. `not_opted_in`: none of this person's has. */
  | { readonly state: 'not_configured' | 'not_opted_in' };

/** Everything that policy decides, compiled. Immutable: a new configuration makes a new one. */
export interface Policy {
  /** Sentences for the operator about what is allowed but probably not meant. */
  readonly warnings: readonly string[];
  /** Whether a policy is for this group. */
  namesGroup(group: string): boolean;
  /** @throws ApiError 400 `invalid_request_error`, naming the models that this person may use. */
  checkModel(principal: Principal, requested: string): ResolvedModel;
  /** Whether this person may use every model that there is. */
  allowsEveryModel(principal: Principal): boolean;
  /** The id of a model (`canonical` of {@link checkModel}) at an upstream; undefined: skip that upstream. */
  upstreamModel(canonical: string, upstreamName: string): string | undefined;
  listModels(principal: Principal, query?: ModelListQuery): ModelList;
  /** One model of that list, by any of its names. */
  findModel(principal: Principal, name: string): ModelView | undefined;
  /** @param forDesktop Whether the session runs inside Claude Desktop. */
  settingsFor(principal: Principal, forDesktop?: boolean): SettingsAnswer;
  bootstrapFor(principal: Principal, now: Date): BootstrapAnswer;
}

/** What a person's policies amount to, with everything derived from it. */
interface Compiled {
  readonly policy: EffectivePolicy;
  readonly access: ModelAccess;
  readonly desktop: DesktopConfiguration | undefined;
  readonly origins: readonly PolicyOrigin[];
}

/** Combinations kept in `layered` mode; beyond this the memory is dropped and filled again. */
const MAX_COMBINATIONS = 10_000;

/**
 * Compiles the configuration into a policy. Pure: no I/O, no clock. It throws nothing for a configuration that the
 * loader accepted.
 */
export function compilePolicy(source: PolicySource, options: PolicyOptions): Policy {
  const policies = source.managed.policies;
  const mode = source.managed.policy_mode ?? 'first_match';
  const extraEnv = options.extraEnv ?? {};
  const pushed = { env: extraEnv, modelPricing: options.modelPricing };
  const matcher = createPolicyMatcher(policies, mode);
  const named = new Set(policies.flatMap(({ match }) => match.groups ?? []));
  const models = createModelPolicy(source);
  const desktopConfigured = policies.some(({ desktop }) => desktop !== undefined);

  const compile = (indexes: readonly number[]): Compiled => {
    const policy = combinePolicies(policies, indexes, pushed);
    const access = models.accessFor(policy.availableModels);
    const desktop = compileDesktop(policy, access.listed, {
      publicUrl: options.publicUrl,
      telemetry: options.telemetry ?? false,
    });
    const origins = indexes.flatMap((index) => policies[index]?.origin ?? []);
    return { policy, access, desktop, origins };
  };

  // Nobody's policy: every model. With no policies at all it still carries what the gateway itself pushes.
  const unmatched = compile([]);
  const servesUnmatched = policies.length === 0 && Object.keys(extraEnv).length > 0;
  const combinations = new Map<string, Compiled>();
  const compiledOnce = (indexes: readonly number[]): Compiled => {
    if (indexes.length === 0) return unmatched;
    const key = indexes.join();
    let compiled = combinations.get(key);
    if (compiled === undefined) {
      if (combinations.size >= MAX_COMBINATIONS) combinations.clear();
      compiled = compile(indexes);
      combinations.set(key, compiled);
    }
    return compiled;
  };
  // All that `first_match` can ever ask for; in `layered` mode the combinations that occur join them.
  const { base } = matcher;
  const single = policies.map((_, index) => (base === undefined || index === base ? [index] : [index, base]));
  const everyPolicy = single.slice(0, base === undefined ? undefined : base + 1).map(compiledOnce);

  const of = (principal: Principal): Compiled => compiledOnce(matcher.match(principal));

  return {
    warnings: policyWarnings(
      policies,
      base,
      everyPolicy.map(({ policy, access }) => ({ policy, access })),
    ),
    namesGroup: (group) => named.has(group),
    checkModel: (principal, requested) => models.check(of(principal).access, requested),
    allowsEveryModel: (principal) => of(principal).access.everything,
    upstreamModel: (canonical, upstreamName) => models.upstreamModel(canonical, upstreamName),
    listModels: (principal, query) => renderModelList(of(principal).access.listed, query),
    findModel(principal, name) {
      const model = models.find(of(principal).access, name);
      return model === undefined ? undefined : renderModel(model);
    },
    settingsFor(principal, forDesktop = false) {
      const { policy, origins } = of(principal);
      if (policy.indexes.length === 0 && !servesUnmatched) return { state: 'no_policy' };
      if (forDesktop && !policy.servedToDesktop) return { state: 'not_for_desktop' };
      return { state: 'served', document: policy.document, indexes: policy.indexes, origins };
    },
    bootstrapFor(principal, now) {
      const { policy, desktop, origins } = of(principal);
      if (desktop === undefined) return { state: desktopConfigured ? 'not_opted_in' : 'not_configured' };
      const expiresAt = Math.floor(now.getTime() / 1000) + Math.round(source.session.ttl_hours * 3600);
      return {
        state: 'served',
        body: bootstrapBody(desktop, principal, expiresAt),
        indexes: policy.indexes,
        origins,
      };
    },
  };
}
