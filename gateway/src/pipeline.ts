import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import {
  CATALOG,
  type GatewayConfig,
  type OidcProviderConfig,
  type UpstreamConfig,
} from '@claude-gateway/contract';
import { StoreUnavailableError, type Store } from '@claude-gateway/prisma';
import type { Dispatcher } from 'undici';
import { createAdminRouter } from './admin/router.ts';
import { createDeviceRouter } from './auth/device/router.ts';
import type { OidcProvider } from './auth/oidc/provider.ts';
import { createOidcProvider } from './auth/oidc/relying-party.ts';
import { Authenticator } from './auth/session/authenticator.ts';
import { createSignInLimits } from './auth/limits/sign-in-limits.ts';
import { createRefreshTokens } from './auth/session/refresh-token.ts';
import { createSealer } from './auth/session/sealer.ts';
import { createTokenRouter } from './auth/session/token-endpoint.ts';
import { createTokens } from './auth/session/tokens.ts';
import { createTokenExchange } from './auth/workload/token-exchange.ts';
import { createApp } from './http/app.ts';
import { AddressSet } from './http/client-address.ts';
import type { RequestContext } from './http/context.ts';
import { ApiError, sendApiError } from './http/errors.ts';
import { createLandingRouter } from './http/landing.ts';
import type { ListenerRules, RequestHandler } from './http/listener.ts';
import { logWhenAnswered } from './http/request-log.ts';
import { isProbe, pathOf } from './http/request-target.ts';
import { createProbesRouter } from './http/probes.ts';
import { trafficLimits } from './http/traffic-limits.ts';
import { createAgent, type ProxyOptions } from './net/http-client.ts';
import type { Audit } from './observe/audit.ts';
import type { Log } from './observe/log.ts';
import type { GatewayMetrics } from './observe/metrics/metrics.ts';
import { GroupNames } from './group-names.ts';
import { Parts } from './parts.ts';
import { livePolicy } from './policy-parts.ts';
import { createPolicyRouter } from './policy/router.ts';
import type { SettingsFetchLog } from './policy/settings-fetches.ts';
import type { Principal } from './principal.ts';
import { budgetAlerts, capOptions, limitFeed } from './spend-parts.ts';
import { createSpend, type Learned } from './spend/admission/admission.ts';
import { compileCaps } from './spend/caps/compile.ts';
import { countedLedger } from './spend/ledger/counted-ledger.ts';
import type { ReplicaLedger } from './spend/ledger/replica-ledger.ts';
import { createPriceBook } from './spend/prices/price-book.ts';
import type { PrincipalLog } from './spend/principals.ts';
import { createUsageRouter } from './spend/usage-router.ts';
import { createUsageExport } from './spend/usage/usage-export.ts';
import { discardExport, isTelemetryPath } from './telemetry/receiver.ts';
import type { AbandonedReads } from './upstream/abandoned-reads.ts';
import { createAnthropicUpstream } from './upstream/anthropic.ts';
import { createInference, isInferencePath } from './upstream/inference.ts';
import { createTokenCounter } from './upstream/token-count.ts';
import type { Upstream } from './upstream/upstream.ts';

/** What outlives every configuration. */
export interface Resources {
  readonly store: Store;
  readonly log: Log;
  readonly audit: Audit;
  readonly clock: () => Date;
  readonly version: string;
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK. */
  readonly allowLoopback: boolean;
  readonly proxy: ProxyOptions;
  readonly isDraining: () => boolean;
  readonly ledger: ReplicaLedger;
  /** Of all configurations: what is read on outlives the one that it began with. */
  readonly abandonedReads: AbandonedReads;
  readonly learned: Learned;
  readonly principals: PrincipalLog;
  readonly settingsFetches: SettingsFetchLog;
  /** Absent: nothing is counted. */
  readonly metrics: GatewayMetrics | undefined;
}

/** Everything that one configuration says, ready to serve. Immutable: a reload makes another one. */
export interface Runtime {
  readonly rules: ListenerRules;
  readonly handle: RequestHandler;
  /** What the operator should know about this configuration, in sentences. */
  readonly warnings: readonly string[];
  readonly parts: Parts;
  /** The newest whose limits and managed policies are both in force. */
  readonly policyRevision: () => bigint;
}

/**
 * The composition root: the only place that knows all rooms.
 *
 * @param previous Whose parts are kept where the configuration did not change; see {@link Parts}.
 * @throws Error in one line when an identity provider cannot be discovered or a file cannot be read.
 */
export async function createRuntime(
  config: GatewayConfig,
  resources: Resources,
  previous?: Runtime,
): Promise<Runtime> {
  const parts = new Parts(previous?.parts);
  try {
    return await compose(config, resources, parts);
  } catch (error) {
    await parts.close(previous?.parts);
    throw error;
  }
}

async function compose(config: GatewayConfig, resources: Resources, parts: Parts): Promise<Runtime> {
  const { store, audit, clock, version, metrics } = resources;
  const publicUrl = publicUrlOf(config);
  const secrets = config.session.jwt_secret;

  const providers = await Promise.all(
    config.oidc.map((provider) => oidcProvider(provider, config.oidc, publicUrl, resources, parts)),
  );
  const sealer = createSealer(secrets);
  const refreshTokens = createRefreshTokens(secrets);
  const sessionParts = {
    secrets,
    ttlSeconds: Math.round(config.session.ttl_hours * 3600),
    issuer: publicUrl,
  };
  const groupNames = await parts.use('group names', null, () => new GroupNames());
  const tokenParts = {
    ...sessionParts,
    maxHeaderBytes: config.limits.max_request_header_bytes,
    groups: config.session.groups,
  };
  const tokens = await parts.use('tokens', tokenParts, () =>
    createTokens({
      ...tokenParts,
      ...(config.session.groups === 'named' && { isNamedGroup: (group) => groupNames.has(group) }),
      clock,
    }),
  );
  const authenticator = await parts.use(
    'authenticator',
    sessionParts,
    () => new Authenticator({ tokens, revocations: store.revocations, audit, clock }),
  );

  const policy = await livePolicy(config, publicUrl, resources, parts);
  const dispatcher = await upstreamDispatcher(resources, parts);
  const upstreams = await Promise.all(
    config.upstreams.map((upstream) => createUpstream(upstream, dispatcher, resources, parts)),
  );
  const caps = await limitFeed(config, resources, parts);
  const { alerts, charged } = await budgetAlerts(config, publicUrl, resources, parts);
  metrics?.ledger.knowModels([...CATALOG, ...config.models].map(({ id }) => id));
  const spend = createSpend({
    caps: () => caps.current,
    areCapsOutdated: () => caps.isOutdated,
    ledger: metrics === undefined ? resources.ledger : countedLedger(resources.ledger, metrics.ledger),
    prices: createPriceBook({
      pricing: config.pricing,
      models: config.models,
      onUnknown: (upstream, model) =>
        resources.log.warn(
          { upstream, model },
          'the price of this model is not known: strict limits charge the dearest price that is known, others 5 and 25 dollars a million tokens; name it in pricing.overrides',
        ),
    }),
    countTokens: createTokenCounter(dispatcher),
    learned: resources.learned,
    seen: (principal) => resources.principals.seen(principal),
    onCharge: (applied) => charged.remember(applied),
    onBlocked: (cap, spent) => alerts.observe([{ cap, spent, refused: true }]),
    audit,
    clock: () => clock().getTime(),
    enforcement: config.enforcement,
    blockedMessage: config.admin?.blocked_message,
  });
  const inference = createInference({
    upstreams,
    dispatcher,
    policy,
    audit,
    limits: config.limits,
    timeouts: config.timeouts,
    admission: spend,
    counts: metrics?.inference,
    abandonedReads: resources.abandonedReads,
    abandonedReadMs: config.enforcement.abandoned_read_ms,
  });

  const tokenExchange =
    config.workload_identity.length === 0
      ? undefined
      : await parts.use('workload identity', [config.workload_identity, tokenParts], () =>
          createTokenExchange({
            config: config.workload_identity,
            tokens,
            sessions: store.sessions,
            audit,
            clock,
            log: resources.log,
            allowLoopback: resources.allowLoopback,
            proxy: resources.proxy,
          }),
        );

  const authenticate = (
    headers: IncomingHttpHeaders,
    context: RequestContext,
    options?: Parameters<Authenticator['authenticate']>[2],
  ): Principal | Promise<Principal> => {
    const identified = (principal: Principal): Principal => {
      context.traffic?.identified(principal.sub);
      return principal;
    };
    const principal = authenticator.authenticate(headers, context, options);
    return principal instanceof Promise ? principal.then(identified) : identified(principal);
  };
  /** For what clients fetch once they are signed in: reports know people before their first request for a model. */
  const authenticateAndRemember = (headers: IncomingHttpHeaders, context: RequestContext) => {
    const remembered = (principal: Principal): Principal => {
      resources.principals.seen(principal);
      return principal;
    };
    const principal = authenticate(headers, context);
    return principal instanceof Promise ? principal.then(remembered) : remembered(principal);
  };
  const limits = await parts.use('sign-in limits', config.rate_limits, () =>
    createSignInLimits(config.rate_limits, clock),
  );
  const app = createApp(
    [
      createProbesRouter({ version, publicUrl, isDraining: resources.isDraining }),
      createLandingRouter({ version, publicUrl }),
      createTokenRouter({
        deviceGrants: store.deviceGrants,
        sessions: store.sessions,
        tokens,
        refreshTokens,
        revocations: store.revocations,
        sealer,
        limits,
        provider: (id) => providers.find((provider) => provider.id === id),
        audit,
        clock,
        publicUrl,
        tokenExchange,
      }),
      createPolicyRouter({
        policy,
        authenticate: authenticateAndRemember,
        audit,
        clock,
        onSettingsFetched: (principal, origins) => {
          // Without resources there is nothing that anybody could ask about.
          if (policy.hasRows) resources.settingsFetches.fetched(principal, origins);
        },
      }),
      createUsageRouter({
        authenticate: authenticateAndRemember,
        caps: () => caps.current,
        ledger: store.windows,
        spendSince: (sub, since) => store.usage.spendSince(sub, since),
        isUnavailable: (error) => error instanceof StoreUnavailableError,
        clock,
      }),
      ...(config.admin === undefined
        ? []
        : [
            createAdminRouter({
              config: config.admin,
              limits: store.limits,
              effective: store.effective,
              increaseRequests: store.increaseRequests,
              ledger: store.windows,
              principals: store.usage,
              limitsInForce: () => caps.catchUp(),
              flushSeen: () => resources.principals.flush(),
              compileCaps: (limits) => compileCaps(limits, capOptions(config)),
              authenticate,
              usage: createUsageExport({ usage: store.usage, clock }),
              audit,
              clock,
            }),
          ]),
      // Last of those that answer: its error handler speaks to people, and it takes every error that passes it.
      createDeviceRouter({
        grants: store.deviceGrants,
        rateLimits: store.rateLimits,
        limits,
        assertMintable: async (holder) => void (await tokens.mint(holder)),
        sealer,
        settings: () => ({
          publicUrl,
          loginNotice: config.login_notice,
          rateLimits: config.rate_limits,
        }),
        providers: () => providers,
        audit,
        clock,
      }),
    ],
    { secure: publicUrl.startsWith('https:') },
  );

  const authenticated = (
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    serve: (principal: Principal) => void,
  ): void => {
    const refuse = (error: unknown): void => {
      logWhenAnswered(request, response, context);
      sendApiError(response, asApiError(error, context), context.id);
    };
    try {
      const principal = authenticate(request.headers, context);
      if (!(principal instanceof Promise)) serve(principal);
      else {
        principal
          .then((known) => {
            // Gone meanwhile: nothing of it would ever end.
            if (response.destroyed) logWhenAnswered(request, response, context);
            else serve(known);
          })
          .catch(refuse);
      }
    } catch (error) {
      refuse(error);
    }
  };

  const handle: RequestHandler = (request, response, context) => {
    const path = pathOf(request.url ?? '');
    if (request.method === 'POST') {
      if (isInferencePath(path)) {
        authenticated(request, response, context, (principal) =>
          inference.handle(request, response, context, principal),
        );
        return;
      }
      if (isTelemetryPath(path)) {
        authenticated(request, response, context, () => {
          logWhenAnswered(request, response, context);
          discardExport(request, response, config.limits.max_request_bytes);
        });
        return;
      }
    }
    if (!isProbe(path)) logWhenAnswered(request, response, context);
    app(request, response);
  };

  const namedHere = new Set([
    ...(config.admin?.admin_groups ?? []),
    ...config.upstreams.flatMap(({ groups }) => groups ?? []),
  ]);
  groupNames.namedBy(
    (group) => namedHere.has(group) || policy.namesGroup(group) || caps.current.namesGroup(group),
  );
  return {
    rules: rulesOf(config),
    handle,
    warnings: policy.warnings,
    parts,
    policyRevision: () => {
      const { revision } = caps.current;
      return policy.revision < revision ? policy.revision : revision;
    },
  };
}

/** Without `listen.public_url` the gateway is on this machine only; the loader has made sure of that. */
export function publicUrlOf(config: GatewayConfig): string {
  const { public_url: publicUrl, host, port, tls } = config.listen;
  if (publicUrl !== undefined) return publicUrl.replace(/\/+$/, '');
  return `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function rulesOf(config: GatewayConfig): ListenerRules {
  return {
    trustedProxies: new AddressSet(config.listen.trusted_proxies),
    allow: new AddressSet(config.access_control.allow_cidrs),
    deny: new AddressSet(config.access_control.deny_cidrs),
    maxUrlLength: config.limits.max_url_length,
    traffic: trafficLimits(config.limits, config.timeouts),
  };
}

function oidcProvider(
  settings: OidcProviderConfig,
  all: readonly OidcProviderConfig[],
  publicUrl: string,
  resources: Resources,
  parts: Parts,
): Promise<OidcProvider> {
  const others = all
    .filter(({ name }) => name !== settings.name)
    .map(({ name, groups_prefix }) => ({ name, groups_prefix }));
  return parts.use(
    'identity provider',
    [settings, others, publicUrl],
    () =>
      createOidcProvider(settings, {
        id: settings.name,
        others,
        ...(settings.label === undefined ? {} : { label: settings.label }),
        redirectUri: `${publicUrl}/oauth/callback`,
        allowLoopback: resources.allowLoopback,
        proxy: resources.proxy,
        clock: resources.clock,
        log: resources.log,
      }),
    (provider) => provider.close(),
  );
}

/** Sockets to upstreams: the relay keeps its own time limits, and a response may take hours. */
function upstreamDispatcher(resources: Resources, parts: Parts): Promise<Dispatcher> {
  return parts.use(
    'upstream connections',
    null,
    () =>
      createAgent({
        allowLoopback: resources.allowLoopback,
        proxy: resources.proxy,
        headersTimeoutMs: 0,
        bodyTimeoutMs: 0,
      }),
    (agent) => agent.close(),
  );
}

function createUpstream(
  config: UpstreamConfig,
  dispatcher: Dispatcher,
  resources: Resources,
  parts: Parts,
): Promise<Upstream> {
  if (config.provider !== 'anthropic') {
    // Refused at start-up by unsupportedSections; here for the type checker and for whoever adds a provider.
    throw new Error(
      `upstream "${config.name}": provider ${config.provider} is not available in this version`,
    );
  }
  return parts.use('upstream', config, () =>
    createAnthropicUpstream(config, { dispatcher, userAgent: `claude-gateway/${resources.version}` }),
  );
}

function asApiError(error: unknown, context: RequestContext): ApiError {
  if (error instanceof ApiError) return error;
  context.log.error({ err: error, request_id: context.id }, 'request failed');
  return new ApiError('api_error', `The gateway failed to handle this request (${context.id}).`);
}
