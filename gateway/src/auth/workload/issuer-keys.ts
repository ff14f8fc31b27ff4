import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import { describeNetworkError, type FetchFunction } from '../../net/http-client.ts';

/** The issuer's keys cannot be had right now. `detail` is for the log. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
  readonly detail: string;

  constructor(issuer: string, detail: string, options: { cause?: unknown } = {}) {
    super(`the keys of ${issuer} cannot be fetched`, options);
    this.detail = detail;
  }
}

export interface IssuerKeysOptions {
  readonly issuer: string;
  /** `jwks_url`; absent: found by discovery on first use. */
  readonly jwksUrl?: string | undefined;
  readonly fetch: FetchFunction;
  readonly clock: () => Date;
}

const TIMEOUT_MS = 10_000;
/** After a failure nobody is asked for this long: strangers' tokens must not turn us against the issuer. */
const FAILURE_COOLDOWN_MS = 5_000;
/** Between two fetches on account of key ids that we do not know. */
const ROTATION_COOLDOWN_MS = 30_000;
/** A key that the issuer withdrew works this long. */
const MAX_AGE_MS = 600_000;

/**
 * The keys of one issuer: fetched on first use, kept for ten minutes, fetched anew when a token names an unknown one.
 *
 * @returns What `jwtVerify` asks; it throws {@link KeysUnavailable} when it cannot tell.
 */
export function createIssuerKeys(options: IssuerKeysOptions): JWTVerifyGetKey {
  const { issuer, clock } = options;
  let keys: Promise<ReturnType<typeof createRemoteJWKSet>> | undefined;
  let failure: { readonly error: KeysUnavailable; readonly until: number } | undefined;

  const failed = (error: unknown): KeysUnavailable => {
    if (failure !== undefined && error === failure.error) return failure.error;
    const unavailable =
      error instanceof KeysUnavailable
        ? error
        : new KeysUnavailable(issuer, describeNetworkError(error), { cause: error });
    failure = { error: unavailable, until: clock().getTime() + FAILURE_COOLDOWN_MS };
    return unavailable;
  };

  // The pause is in here and not around everything: keys that we have go on working through an outage.
  const fetch: FetchFunction = async (url, init) => {
    if (failure !== undefined && clock().getTime() < failure.until) throw failure.error;
    const response = await options.fetch(url, init);
    if (response.status === 200) return response;
    await response.body?.cancel();
    throw new KeysUnavailable(issuer, `${String(url)} answered ${response.status}`);
  };

  const discovered = async (): Promise<ReturnType<typeof createRemoteJWKSet>> => {
    const url = options.jwksUrl ?? (await discoverJwksUrl(issuer, fetch));
    return createRemoteJWKSet(new URL(url), {
      [customFetch]: (target, init) => fetch(target, init),
      timeoutDuration: TIMEOUT_MS,
      cooldownDuration: ROTATION_COOLDOWN_MS,
      cacheMaxAge: MAX_AGE_MS,
      headers: { accept: 'application/json, application/jwk-set+json' },
    });
  };

  return async (header, token) => {
    let remote: ReturnType<typeof createRemoteJWKSet> | undefined;
    try {
      remote = await (keys ??= discovered());
      return await remote(header, token);
    } catch (error) {
      if (isAboutTheToken(error)) throw error;
      // The issuer may have moved its keys: discover anew, unless those at hand are still good.
      if (remote?.fresh !== true) keys = undefined;
      throw failed(error);
    }
  };
}

function isAboutTheToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}

/** OpenID Connect Discovery 1.0 §4; Kubernetes API servers speak it too. */
async function discoverJwksUrl(issuer: string, fetch: FetchFunction): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const document = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown } | null;
  if (document?.issuer !== issuer) {
    throw new KeysUnavailable(
      issuer,
      `${url} belongs to another issuer, ${JSON.stringify(document?.issuer)}`,
    );
  }
  const { jwks_uri: jwksUrl } = document;
  if (typeof jwksUrl !== 'string' || !URL.canParse(jwksUrl)) {
    throw new KeysUnavailable(issuer, `${url} names no jwks_uri`);
  }
  if (issuer.startsWith('https:') && !jwksUrl.startsWith('https:')) {
    throw new KeysUnavailable(issuer, `${url} names a jwks_uri that is not https`);
  }
  return jwksUrl;
}
