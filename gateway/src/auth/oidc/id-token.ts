import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload } from 'jose';
import type { FetchFunction } from '../../net/http-client.ts';
import type { ProviderMetadata } from './discovery.ts';
import { IdentityProviderUnavailable, SignInRefused } from './errors.ts';
import { IDP_TIMEOUT_MS, unavailableCause } from './idp-fetch.ts';
import { DEFAULT_ID_TOKEN_ALG, type OidcSettings } from './settings.ts';

/** Claims of an ID token that has been verified. */
export type IdTokenClaims = JWTPayload & { readonly sub: string };

export interface IdTokenVerifier {
  /**
   * Verifies an ID token (OpenID Connect Core 1.0 §3.1.3.7, §12.2).
   *
   * @param expected.nonce Of the sign-in; undefined on a refresh, where providers may leave it out.
   * @throws SignInRefused, or IdentityProviderUnavailable when the keys cannot be fetched.
   */
  verify(idToken: string, expected: { nonce: string | undefined }): Promise<IdTokenClaims>;
}

const REFUSAL =
  'The identity provider sent a sign-in that this gateway cannot accept. Tell your administrator.';

export function createIdTokenVerifier(
  settings: OidcSettings,
  metadata: ProviderMetadata,
  deps: { fetch: FetchFunction; clock: () => Date },
): IdTokenVerifier {
  // Keys are fetched on first use, again after ten minutes, and at once when a token names an unknown one.
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri), {
    [customFetch]: (url, init) => deps.fetch(url, init),
    timeoutDuration: IDP_TIMEOUT_MS,
  });
  const alg = settings.id_token_signed_response_alg ?? DEFAULT_ID_TOKEN_ALG;
  const authorizedParties = new Set([settings.client_id, ...(settings.additional_authorized_parties ?? [])]);
  const isTemplate = metadata.issuer.includes('{tenantid}');

  return {
    verify: async (idToken, expected) => {
      const payload = await jwtVerify(idToken, keys, {
        algorithms: alg === 'EdDSA' ? ['EdDSA', 'Ed25519'] : [alg],
        audience: settings.client_id,
        ...(isTemplate ? {} : { issuer: issuerSpellings(metadata.issuer) }),
        requiredClaims: ['iss', 'sub', 'exp', 'iat'],
        clockTolerance: settings.clock_skew_seconds ?? 0,
        currentDate: deps.clock(),
      }).then(
        (verified) => verified.payload,
        (error: unknown) => {
          throw asRefusal(error, settings.issuer, alg);
        },
      );
      if (isTemplate) assertOwnTenant(payload, metadata.issuer);
      assertAuthorizedParty(payload, authorizedParties);
      if (expected.nonce !== undefined && payload['nonce'] !== expected.nonce) {
        throw new SignInRefused(
          'response_mismatch',
          REFUSAL,
          'the nonce of the ID token is not that of this sign-in',
        );
      }
      return payload as IdTokenClaims;
    },
  };
}

/** Google signs with and without the scheme: https://developers.google.com/identity/openid-connect/reference */
function issuerSpellings(issuer: string): string[] {
  return issuer === 'https://accounts.google.com' ? [issuer, 'accounts.google.com'] : [issuer];
}

/** Entra's common issuer is a template that each tenant fills with its own id. */
function assertOwnTenant(payload: JWTPayload, template: string): void {
  const tenant = payload['tid'];
  if (typeof tenant !== 'string' || payload.iss !== template.replace('{tenantid}', tenant)) {
    throw new SignInRefused(
      'invalid_id_token',
      REFUSAL,
      `unexpected issuer ${String(payload.iss)} for its tenant`,
    );
  }
}

function assertAuthorizedParty(payload: JWTPayload, allowed: ReadonlySet<string>): void {
  const party = payload['azp'];
  if (party === undefined) {
    if (!Array.isArray(payload.aud) || payload.aud.length === 1) return;
    throw new SignInRefused('invalid_id_token', REFUSAL, 'the ID token has several audiences and no azp');
  }
  if (typeof party !== 'string' || !allowed.has(party)) {
    throw new SignInRefused(
      'invalid_id_token',
      REFUSAL,
      `the ID token was issued to ${JSON.stringify(party)} (azp); ` +
        'if that is meant, list it in oidc.additional_authorized_parties',
    );
  }
}

function asRefusal(error: unknown, issuer: string, alg: string): Error {
  const unavailable = unavailableCause(error);
  if (unavailable !== null) return unavailable;
  if (error instanceof errors.JWTExpired || isTooEarly(error)) {
    const detail = `${(error as Error).message}; if the clocks differ, set oidc.clock_skew_seconds`;
    return new SignInRefused('invalid_id_token', REFUSAL, detail, { cause: error });
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    const detail = `the ID token is not signed with ${alg}; set oidc.id_token_signed_response_alg`;
    return new SignInRefused('invalid_id_token', REFUSAL, detail, { cause: error });
  }
  if (error instanceof errors.JWKSInvalid || error instanceof errors.JWKSTimeout || isGeneric(error)) {
    return new IdentityProviderUnavailable(issuer, `its keys cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (error instanceof errors.JOSEError) {
    return new SignInRefused('invalid_id_token', REFUSAL, `ID token refused: ${error.message}`, {
      cause: error,
    });
  }
  return error as Error;
}

function isTooEarly(error: unknown): boolean {
  return (
    error instanceof errors.JWTClaimValidationFailed &&
    error.claim === 'nbf' &&
    error.reason === 'check_failed'
  );
}

/** What jose throws when the answer of `jwks_uri` is not a 200 with JSON. */
function isGeneric(error: unknown): boolean {
  return error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC';
}
