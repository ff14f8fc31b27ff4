import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerMetadata } from 'openid-client';
import type { FetchFunction } from '../../net/http-client.ts';
import { assertUrlAllowed } from '../../net/ssrf-guard.ts';
import type { Log } from '../../observe/log.ts';
import { IdentityProviderUnavailable } from './errors.ts';
import { DEFAULT_ID_TOKEN_ALG, type OidcSettings } from './settings.ts';

/** A discovery document with everything that the authorization code flow needs. */
export type ProviderMetadata = ServerMetadata & {
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
  readonly jwks_uri: string;
};

export interface DiscoveryDependencies {
  readonly fetch: FetchFunction;
  readonly allowLoopback: boolean;
  readonly log: Log;
  /** How often to ask, and how long to wait in between, in ms, while the provider does not answer at all. */
  readonly retry: { readonly attempts: number; readonly delayMs: number };
}

const WELL_KNOWN = '/.well-known/openid-configuration';

/** Endpoints that the gateway itself calls. */
const OUR_ENDPOINTS = ['token_endpoint', 'jwks_uri', 'userinfo_endpoint'] as const;

/**
 * Fetches and judges the provider's metadata (OpenID Connect Discovery 1.0 §4).
 *
 * @throws Error with one line that names the issuer, what is wrong, and what to do about it.
 */
export async function discover(
  settings: OidcSettings,
  deps: DiscoveryDependencies,
): Promise<ProviderMetadata> {
  const fail = (reason: string, cause?: unknown): Error =>
    new Error(`oidc issuer ${settings.issuer}: ${reason}`, { cause });

  assertUrlAllowed(settings.issuer, { allowLoopback: deps.allowLoopback, field: 'oidc.issuer' });
  const url = assertUrlAllowed(
    settings.discovery_url ?? `${settings.issuer.replace(/\/$/, '')}${WELL_KNOWN}`,
    {
      allowLoopback: deps.allowLoopback,
      field: settings.discovery_url === undefined ? 'oidc.issuer' : 'oidc.discovery_url',
    },
  );

  const document = await fetchDocument(url, deps, fail);
  const metadata = withRequiredEndpoints(document, fail);
  if (!isExpectedIssuer(metadata.issuer, settings.issuer)) {
    throw fail(
      `the discovery document at ${url.href} belongs to another issuer, ${metadata.issuer}; ` +
        'set oidc.issuer to exactly that if it is the one you mean',
    );
  }
  for (const name of [...OUR_ENDPOINTS, 'authorization_endpoint'] as const) {
    const endpoint = metadata[name];
    if (endpoint === undefined) continue;
    try {
      const { protocol } = assertUrlAllowed(endpoint, { allowLoopback: deps.allowLoopback, field: name });
      if (url.protocol === 'https:' && protocol !== 'https:')
        throw new Error(`${name} ${endpoint} must be https`);
    } catch (error) {
      throw fail(`its discovery document is not usable: ${(error as Error).message}`, error);
    }
  }
  warnAboutSurprises(metadata, settings, deps.log);
  return metadata;
}

type Fail = (reason: string, cause?: unknown) => Error;

async function fetchDocument(
  url: URL,
  deps: DiscoveryDependencies,
  fail: Fail,
): Promise<Record<string, unknown>> {
  const response = await fetchPatiently(url, deps, fail);
  if (response.status !== 200) {
    const location = response.headers.get('location');
    await response.body?.cancel();
    throw fail(
      `${url.href} answered ${response.status}${location === null ? '' : ` (a redirect to ${location})`}; ` +
        'check oidc.issuer, or name the document itself in oidc.discovery_url',
    );
  }
  let document: unknown;
  try {
    document = await response.json();
  } catch (error) {
    throw fail(`${url.href} is not JSON; check oidc.issuer`, error);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw fail(`${url.href} is not a JSON object; check oidc.issuer`);
  }
  return document as Record<string, unknown>;
}

async function fetchPatiently(url: URL, deps: DiscoveryDependencies, fail: Fail): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await deps.fetch(url, { headers: { accept: 'application/json' } });
    } catch (error) {
      const detail = error instanceof IdentityProviderUnavailable ? error.detail : String(error);
      if (attempt >= deps.retry.attempts || detail.includes('blocked destination')) {
        throw fail(`discovery failed: ${detail}`, error);
      }
      deps.log.warn({ attempt, detail }, 'OIDC discovery failed, trying again');
      await sleep(deps.retry.delayMs * 2 ** (attempt - 1));
    }
  }
}

function withRequiredEndpoints(document: Record<string, unknown>, fail: Fail): ProviderMetadata {
  const required = ['issuer', 'authorization_endpoint', 'token_endpoint', 'jwks_uri'];
  const missing = required.filter((name) => typeof document[name] !== 'string');
  if (missing.length > 0) throw fail(`its discovery document lacks ${missing.join(', ')}`);
  return document as unknown as ProviderMetadata;
}

/**
 * Exactly equal (OpenID Connect Discovery 1.0 §4.3), but for a trailing slash and for Entra's document for all
 * tenants, whose issuer is a template.
 */
function isExpectedIssuer(actual: string, configured: string): boolean {
  return actual.replace(/\/$/, '') === configured.replace(/\/$/, '') || isTemplateOf(actual, configured);
}

function isTemplateOf(actual: string, configured: string): boolean {
  return /^https:\/\/login\.microsoftonline\.(?:com|us)\/(?:common|organizations)\/v2\.0\/?$/.test(configured)
    ? actual.endsWith('/{tenantid}/v2.0') && new URL(actual).host === new URL(configured).host
    : false;
}

/** What will probably fail at the first sign-in, or let in more people than meant. */
function warnAboutSurprises(metadata: ProviderMetadata, settings: OidcSettings, log: Log): void {
  const warn = (message: string): void => log.warn({ issuer: settings.issuer }, message);
  const alg = settings.id_token_signed_response_alg ?? DEFAULT_ID_TOKEN_ALG;
  const algs = metadata.id_token_signing_alg_values_supported;
  if (algs !== undefined && !algs.includes(alg)) {
    warn(
      `the provider signs ID tokens with ${algs.join(', ')}; set oidc.id_token_signed_response_alg (it is ${alg})`,
    );
  }
  const challenges = metadata.code_challenge_methods_supported;
  if (settings.use_pkce !== false && challenges !== undefined && !challenges.includes('S256')) {
    warn('the provider does not advertise PKCE with S256; if it refuses sign-ins, set oidc.use_pkce: false');
  }
  if (metadata.issuer.includes('{tenantid}')) {
    warn(
      'this issuer lets people of every Entra tenant sign in, and their email addresses prove nothing; ' +
        "name your own tenant's id in oidc.issuer",
    );
  }
}
