/** What somebody is told whose own bearer or refresh token no longer works: what happened, and what to do. */

export const EXPIRED = 'Your sign-in to the gateway has expired. Run /login to sign in again.';

const BY_REASON: ReadonlyMap<string, string> = new Map([
  ['sign_out', 'You signed out of this session. Run /login to sign in again.'],
  [
    'admin',
    'An administrator ended your session. Run /login to sign in again, or ask your IT department why.',
  ],
  [
    'refresh_token_reused',
    'Your session was ended for your safety: its credentials were used from two places by two programs. Run /login to sign in again.',
  ],
  [
    'refresh:provider_removed',
    'The identity provider that you signed in with is no longer configured. Run /login to sign in again.',
  ],
  [
    'refresh:too_many_groups',
    'Your account is in more groups than a sign-in to this gateway can carry. Run /login to see what to do.',
  ],
]);

const REFUSED_BY_PROVIDER =
  'Your identity provider ended your session; your account may have been disabled. Run /login to sign in again.';

/** @param reason Why the session was revoked; undefined when it is not known. */
export function reasonToSignInAgain(reason: string | undefined): string {
  if (reason === undefined) return 'This session was ended. Run /login to sign in again.';
  return (
    BY_REASON.get(reason) ??
    (reason.startsWith('refresh:') ? REFUSED_BY_PROVIDER : reasonToSignInAgain(undefined))
  );
}
