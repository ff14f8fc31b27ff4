import { createAgent, createFetch, type ProxyOptions } from '../../net/http-client.ts';
import { compileProxyChoice } from '../../net/proxy-choice.ts';
import type { Resolver } from '../../net/ssrf-guard.ts';
import type { Log } from '../../observe/log.ts';
import { compileAuthorizationUrl } from './authorization-url.ts';
import { createClientAuth } from './client-auth.ts';
import { discover } from './discovery.ts';
import { createGoogleGroups } from './google-groups.ts';
import { createIdTokenVerifier } from './id-token.ts';
import { createIdentification, type OtherProvider } from './identification.ts';
import { createIdpFetch } from './idp-fetch.ts';
import type { OidcProvider } from './provider.ts';
import { DEFAULT_SCOPES, type OidcSettings } from './settings.ts';
import { createTokenClient } from './token-client.ts';

export interface OidcProviderDependencies {
  /** What `Identity.provider` says: stable, for it is stored with every session. */
  readonly id: string;
  /** What to call the provider on a button. Default: the issuer's host. */
  readonly label?: string;
  /** The other providers of this gateway. */
  readonly others?: readonly OtherProvider[];
  /** `<public_url>/oauth/callback`, exactly as registered at the provider. */
  readonly redirectUri: string;
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK. */
  readonly allowLoopback: boolean;
  /** The forward proxy of the process, if any; `use_proxy` decides whether the provider is asked through it. */
  readonly proxy?: ProxyOptions;
  readonly clock: () => Date;
  readonly log: Log;
  /** How patient discovery is. Default: 5 attempts, 500 ms before the second, doubling. */
  readonly retry?: { readonly attempts: number; readonly delayMs: number };
  /** For tests; the system's resolver when absent. */
  readonly resolve?: Resolver;
  /** For tests: where the Google Directory API is. */
  readonly googleDirectoryUrl?: string;
}

/** The longest answer that an identity provider may give, in bytes. */
const MAX_RESPONSE_BYTES = 4_000_000;

/**
 * Discovers an identity provider and returns a relying party for it.
 *
 * @throws Error with one line that names the issuer or field, what is wrong, and what to do about it.
 */
export async function createOidcProvider(
  settings: OidcSettings,
  deps: OidcProviderDependencies,
): Promise<OidcProvider> {
  const log = deps.log.child({ provider: deps.id });
  const network = {
    allowLoopback: deps.allowLoopback,
    maxResponseBytes: MAX_RESPONSE_BYTES,
    resolve: deps.resolve,
  };
  const agents = {
    provider: createAgent({
      ...network,
      caPem: settings.ca_cert_pem,
      proxy: proxyFor(settings, deps.proxy, log),
    }),
    google: createAgent({ ...network, proxy: deps.proxy }),
  };
  const close = async (): Promise<void> => {
    await Promise.all([agents.provider.close(), agents.google.close()]);
  };
  const fetch = createIdpFetch(settings.issuer, createFetch(agents.provider));
  try {
    const metadata = await discover(settings, {
      fetch,
      allowLoopback: deps.allowLoopback,
      log,
      retry: deps.retry ?? { attempts: 5, delayMs: 500 },
    });
    const client = createTokenClient(settings, {
      metadata,
      fetch,
      clientAuth: await createClientAuth(settings, metadata),
      verifier: createIdTokenVerifier(settings, metadata, { fetch, clock: deps.clock }),
      redirectUri: deps.redirectUri,
    });
    const googleGroups =
      settings.google_groups === undefined
        ? null
        : await createGoogleGroups(settings.google_groups, {
            fetch: createIdpFetch('https://admin.googleapis.com', createFetch(agents.google)),
            clock: deps.clock,
            directoryUrl: deps.googleDirectoryUrl,
          });
    const identification = createIdentification(settings, {
      providerId: deps.id,
      others: deps.others ?? [],
      client,
      hasUserinfo: metadata.userinfo_endpoint !== undefined,
      googleGroups,
      log,
    });
    const noteRefreshToken = refreshTokenNotice(settings, log);

    return {
      id: deps.id,
      label: deps.label ?? new URL(settings.issuer).host,
      issuer: settings.issuer,
      formActionOrigins: [
        ...new Set([
          new URL(metadata.authorization_endpoint).origin,
          ...(settings.form_action_origins ?? []),
        ]),
      ],
      authorizationUrl: compileAuthorizationUrl(settings, { metadata, redirectUri: deps.redirectUri, log }),
      exchange: async (currentUrl, secrets) => {
        const tokens = await client.redeem(currentUrl.searchParams, secrets);
        const identity = await identification.signIn(tokens);
        noteRefreshToken(tokens.refreshToken);
        return { identity, refreshToken: tokens.refreshToken };
      },
      refresh: async (refreshToken, previous) => {
        const tokens = await client.refresh(refreshToken);
        return {
          identity: await identification.refresh(tokens, previous),
          refreshToken: tokens.refreshToken,
        };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** `use_proxy` decides; unset means direct, unless the proxy is the only way out and resolves names itself. */
function proxyFor(
  settings: OidcSettings,
  proxy: ProxyOptions | undefined,
  log: Log,
): ProxyOptions | undefined {
  if (proxy === undefined) return undefined;
  const issuer = URL.parse(settings.issuer);
  if (issuer === null) return undefined;
  if (compileProxyChoice(proxy)(issuer.protocol, issuer.hostname, Number(issuer.port)) === null)
    return undefined;
  if (settings.use_proxy === false) return undefined;
  if (proxy.resolve === 'proxy') return proxy;
  const byName = proxy.resolveIdentityProviders === 'proxy';
  if (settings.use_proxy === true) return byName ? { ...proxy, resolve: 'proxy', onlyHttps: true } : proxy;
  if (byName)
    log.warn('proxy.idp_connect_by_hostname has no effect on this identity provider without use_proxy: true');
  log.info(
    'a forward proxy is set, and the identity provider is asked directly: say which in oidc.use_proxy',
  );
  return undefined;
}

/** Says once when people will have to sign in again and again, though refresh tokens were asked for. */
function refreshTokenNotice(settings: OidcSettings, log: Log): (refreshToken: string | null) => void {
  let noted = !(settings.scopes ?? DEFAULT_SCOPES).includes('offline_access');
  return (refreshToken) => {
    if (noted || refreshToken !== null) return;
    noted = true;
    log.warn(
      'the provider gives no refresh token, so people sign in again whenever session.ttl_hours have passed: ' +
        'allow offline access for this client, or raise session.ttl_hours',
    );
  };
}
