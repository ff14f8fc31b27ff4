import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import { IdentityProviderUnavailable, SignInRefused } from './errors.ts';
import { unavailableCause } from './idp-fetch.ts';

const START_AGAIN = 'This sign-in is out of date or was not started here. Start again from your terminal.';
const MISCONFIGURED = 'The identity provider refused this gateway. Tell your administrator.';
const SIGN_IN_AGAIN = 'Your session at the identity provider has ended. Sign in again.';

/** Errors of an authorization response that are the person's, or the provider's on their behalf (OpenID Connect Core §3.1.2.6). */
const PERSONAL_ERRORS = new Set([
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

const PASSING_ERRORS = new Set(['server_error', 'temporarily_unavailable']);

/**
 * Puts a failed callback into our terms.
 *
 * @param asked Whether the token endpoint was asked: before that, the callback itself is what was wrong.
 */
export function callbackFailure(error: unknown, issuer: string, asked: boolean): unknown {
  const unavailable = unavailableCause(error);
  if (unavailable !== null) return unavailable;
  if (error instanceof AuthorizationResponseError) {
    const detail = oauthDetail(error.error, error.error_description);
    if (PASSING_ERRORS.has(error.error))
      return new IdentityProviderUnavailable(issuer, detail, { cause: error });
    if (PERSONAL_ERRORS.has(error.error)) {
      const message = 'The identity provider did not complete the sign-in, or you cancelled it.';
      return new SignInRefused('idp_denied', message, detail, { cause: error });
    }
    return new SignInRefused('idp_error', MISCONFIGURED, detail, { cause: error });
  }
  if (!isProtocolError(error)) return error;
  if (!asked) return new SignInRefused('response_mismatch', START_AGAIN, describe(error), { cause: error });

  const code = oauthCode(error);
  if (PASSING_ERRORS.has(code ?? ''))
    return new IdentityProviderUnavailable(issuer, describe(error), { cause: error });
  return code === 'invalid_grant'
    ? new SignInRefused('response_mismatch', START_AGAIN, describe(error), { cause: error })
    : new SignInRefused('idp_error', MISCONFIGURED, describe(error), { cause: error });
}

/**
 * Puts a failed refresh into our terms. Only the provider's word about this person ends a session; a broken client
 * secret, a scope that it dislikes or a page of some middlebox is a matter for the operator, and everybody stays
 * signed in meanwhile.
 */
export function refreshFailure(error: unknown, issuer: string): unknown {
  const unavailable = unavailableCause(error);
  if (unavailable !== null) return unavailable;
  if (!isProtocolError(error)) return error;
  const code = oauthCode(error) ?? '';
  return code === 'invalid_grant' || PERSONAL_ERRORS.has(code)
    ? new SignInRefused('idp_session_ended', SIGN_IN_AGAIN, describe(error), { cause: error })
    : new IdentityProviderUnavailable(issuer, `refresh failed: ${describe(error)}`, { cause: error });
}

/** Puts a failed question to the UserInfo endpoint into our terms. */
export function userinfoFailure(error: unknown): unknown {
  const unavailable = unavailableCause(error);
  if (unavailable !== null) return unavailable;
  if (!isProtocolError(error)) return error;
  const detail = `userinfo: ${describe(error)}`;
  const isOther = error instanceof ClientError && error.code === 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED';
  return isOther
    ? new SignInRefused('subject_mismatch', MISCONFIGURED, `${detail} (another sub)`, { cause: error })
    : new SignInRefused('idp_error', MISCONFIGURED, detail, { cause: error });
}

type ProtocolError = ClientError | ResponseBodyError | WWWAuthenticateChallengeError;

function isProtocolError(error: unknown): error is ProtocolError {
  return (
    error instanceof ClientError ||
    error instanceof ResponseBodyError ||
    error instanceof WWWAuthenticateChallengeError
  );
}

/** The `error` of an OAuth answer (RFC 6749 §5.2); null when the answer was not one. */
function oauthCode(error: ProtocolError): string | null {
  if (error instanceof ResponseBodyError) return error.error;
  // A token endpoint that answers 401 with a challenge means the client (RFC 6749 §5.2).
  return error instanceof WWWAuthenticateChallengeError ? 'invalid_client' : null;
}

function describe(error: ProtocolError): string {
  if (error instanceof ResponseBodyError) return oauthDetail(error.error, error.error_description);
  if (error instanceof WWWAuthenticateChallengeError) {
    const { error: code, error_description: description } = error.cause[0]?.parameters ?? {};
    return code === undefined ? `answered ${error.status}` : oauthDetail(code, description);
  }
  if (error.cause instanceof Response) return `answered ${error.cause.status}`;
  const inner = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${inner}`;
}

/** Providers put much into a description; a log line takes its beginning, on one line. */
function oauthDetail(code: string, description: string | undefined): string {
  const text = description?.replace(/\s+/g, ' ').slice(0, 300) ?? '';
  return text === '' ? code : `${code}: ${text}`;
}
