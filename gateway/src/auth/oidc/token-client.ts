import {
  allowInsecureRequests,
  authorizationCodeGrant,
  Configuration,
  customFetch,
  fetchUserInfo,
  refreshTokenGrant,
  skipSubjectCheck,
  type ClientAuth,
  type CustomFetch,
} from 'openid-client';
import type { FetchFunction } from '../../net/http-client.ts';
import type { Claims } from './claims.ts';
import type { ProviderMetadata } from './discovery.ts';
import { callbackFailure, refreshFailure, userinfoFailure } from './grant-errors.ts';
import type { IdTokenClaims, IdTokenVerifier } from './id-token.ts';
import type { SignInSecrets } from './provider.ts';
import { scopeOf, type OidcSettings } from './settings.ts';

/** What the token endpoint gave. */
export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  /** Of the verified ID token; null when there was none. */
  readonly claims: IdTokenClaims | null;
}

/** The requests that a relying party makes, with every failure in the terms of `errors.ts`. */
export interface TokenClient {
  redeem(query: URLSearchParams, secrets: SignInSecrets): Promise<Tokens>;
  refresh(refreshToken: string): Promise<Tokens>;
  /** @param subject `sub` of the ID token, which the answer must repeat; null when there was no ID token. */
  userinfo(accessToken: string, subject: string | null): Promise<Claims>;
}

export interface TokenClientDependencies {
  readonly metadata: ProviderMetadata;
  readonly clientAuth: ClientAuth;
  readonly verifier: IdTokenVerifier;
  readonly fetch: FetchFunction;
  readonly redirectUri: string;
}

/**
 * OAuth is spoken by openid-client. ID tokens are taken out of its sight and verified by `id-token.ts`, because it
 * neither checks signatures by default nor knows `additional_authorized_parties`.
 */
export function createTokenClient(settings: OidcSettings, deps: TokenClientDependencies): TokenClient {
  const { metadata, verifier, redirectUri } = deps;
  const refreshParameters: Record<string, string> =
    settings.scope_on_refresh === true ? { scope: scopeOf(settings) } : {};

  function configure(fetch: CustomFetch): Configuration {
    const configuration = new Configuration(metadata, settings.client_id, undefined, deps.clientAuth);
    configuration[customFetch] = fetch;
    // Which schemes are fine was decided when the provider was discovered.
    allowInsecureRequests(configuration);
    return configuration;
  }

  const plain = configure((url, init) => deps.fetch(url, init));

  return {
    redeem: async (query, secrets) => {
      const capture = new IdTokenCapture(deps.fetch);
      const url = new URL(redirectUri);
      url.search = query.toString();
      const answer = await authorizationCodeGrant(configure(capture.fetch), url, {
        expectedState: secrets.state,
        ...(settings.use_pkce === false ? {} : { pkceCodeVerifier: secrets.codeVerifier }),
      }).catch((error: unknown) => {
        throw callbackFailure(error, settings.issuer, capture.asked);
      });
      return {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token ?? null,
        claims:
          capture.idToken === null ? null : await verifier.verify(capture.idToken, { nonce: secrets.nonce }),
      };
    },

    refresh: async (refreshToken) => {
      const capture = new IdTokenCapture(deps.fetch);
      const answer = await refreshTokenGrant(configure(capture.fetch), refreshToken, refreshParameters).catch(
        (error: unknown) => {
          throw refreshFailure(error, settings.issuer);
        },
      );
      return {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token ?? refreshToken,
        claims:
          capture.idToken === null ? null : await verifier.verify(capture.idToken, { nonce: undefined }),
      };
    },

    userinfo: (accessToken, subject) =>
      fetchUserInfo(plain, accessToken, subject ?? skipSubjectCheck).catch((error: unknown) => {
        throw userinfoFailure(error);
      }),
  };
}

/** One request to the token endpoint, whose answer is handed on without its ID token. */
class IdTokenCapture {
  readonly #fetch: FetchFunction;
  asked = false;
  idToken: string | null = null;

  constructor(fetch: FetchFunction) {
    this.#fetch = fetch;
  }

  readonly fetch: CustomFetch = async (url, init) => {
    this.asked = true;
    const response = await this.#fetch(url, init);
    if (response.status !== 200) return response;
    const text = await response.text();
    const headers = { 'content-type': response.headers.get('content-type') ?? '' };
    const answer = parseObject(text);
    if (answer === null || typeof answer['id_token'] !== 'string') return new Response(text, { headers });
    const { id_token: idToken, ...rest } = answer;
    this.idToken = idToken;
    return new Response(JSON.stringify(rest), { headers });
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
