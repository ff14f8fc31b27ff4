import { setTimeout as sleep } from 'node:timers/promises';
import {
  StoreUnavailableError,
  type RefreshClaim,
  type RevocationFeed,
  type Session,
  type SessionStore,
  type TokenUser,
} from '@claude-gateway/prisma';
import type { RequestContext } from '../../http/context.ts';
import { OAuthError } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import { IdentityProviderUnavailable, SignInRefused } from '../oidc/errors.ts';
import type { OidcProvider, SignedIn } from '../oidc/provider.ts';
import { tokenResponse, tokenTooLarge, tryAgain, type Grant, type TokenResponse } from './grant.ts';
import type { RefreshTokens } from './refresh-token.ts';
import { IDP_REFRESH_TOKEN, UnsealError, type Sealer } from './sealer.ts';
import { holderOf } from './session-holder.ts';
import { reasonToSignInAgain } from './reasons.ts';
import { TokenTooLarge, type Tokens } from './tokens.ts';
import { digest } from '../digest.ts';

export interface RefreshGrantDeps {
  readonly sessions: Pick<SessionStore, 'claimRefresh' | 'releaseRefresh' | 'rotate' | 'revoke'>;
  readonly tokens: Tokens;
  readonly refreshTokens: RefreshTokens;
  readonly revocations: Pick<RevocationFeed, 'reasonOf'>;
  readonly sealer: Sealer;
  /** The identity provider of a session, unless the configuration no longer has it. */
  readonly provider: (id: string) => Pick<OidcProvider, 'refresh'> | undefined;
  readonly audit: Audit;
  readonly clock: () => Date;
}

/**
 * How much longer than a bearer token lives a replaced refresh token leads to its successor: a process refreshes with
 * the token that it read when it got its bearer, some minutes before that expires, or when it next has something to
 * send.
 */
const EXTRA_GRACE_MS = 10 * 60_000;

/** When a bearer token would have less left than this, or than half its usual life, the provider is asked again. */
const MIN_REMAINING_SECONDS = 600;

/** A process that is told of a successor may find that one replaced too. */
const MAX_SUCCESSIONS = 5;

/** Longer than an identity provider may take to answer, user info and group look-up included. */
const LEASE_MS = 60_000;

/** How long one caller waits for another one's refresh of the same session: 80 times 250 ms. */
const BUSY_POLLS = 80;
const BUSY_POLL_MS = 250;

/** When the store was lost just after the provider answered: its new refresh token exists nowhere but here. */
const ROTATE_RETRY_MS = [200, 1000, 3000];

/**
 * A client asks for a new bearer token (RFC 6749 §6). The refresh token rotates, and the identity provider is asked
 * every time the token rotates, so whoever was disabled there is out at the next refresh. See docs/adr/0010 for what
 * happens when several processes do this at once, or one after another.
 */
export function refreshGrant(deps: RefreshGrantDeps): Grant {
  return async (form, context, by) => {
    let token = form.require('refresh_token');
    let claim = await claimed(deps, digest(token), by);
    for (let step = 0; claim.state === 'superseded' && step < MAX_SUCCESSIONS; step++) {
      const current = deps.refreshTokens.currentFrom(token, claim.currentTokenHash);
      if (current === undefined) throw unreachable(deps, context, claim.session);
      const remaining = remainingSeconds(deps, claim.session);
      if (remaining >= Math.min(MIN_REMAINING_SECONDS, deps.tokens.ttlSeconds / 2)) {
        return answer(deps, context, claim.session, current, remaining);
      }
      // What the provider said last has grown old: this caller asks it again, on behalf of all.
      token = current;
      claim = await claimed(deps, digest(token), by);
    }
    switch (claim.state) {
      case 'claimed':
        return askProvider(deps, context, claim.session, token, by);
      case 'superseded':
      case 'busy':
        audit(deps, context, claim.session, 'unavailable', 'busy');
        throw tryAgain('Another process is refreshing this session; try again.', 1);
      case 'stale':
        audit(deps, context, claim.session, 'denied', 'stale');
        throw signInAgain(
          'This refresh token was replaced by a newer one, which another Claude Code process of yours has stored. ' +
            'If this message stays, sign in again.',
        );
      case 'reused':
        audit(deps, context, claim.session, 'denied', 'reused');
        deps.audit('session.revoke', {
          request_id: context.id,
          result: 'success',
          reason: 'refresh_token_reused',
          sub: claim.session.identity.sub,
          email: claim.session.identity.email,
          session_id: claim.session.id,
          client_ip: context.clientAddress,
        });
        throw signInAgain(
          'This refresh token was used before, from another network and by another program; the session was ended ' +
            'because somebody else may have a copy. Sign in again.',
        );
      case 'revoked':
        audit(deps, context, claim.session, 'denied', 'revoked');
        throw signInAgain(reasonToSignInAgain(deps.revocations.reasonOf(claim.session.id)));
      case 'unknown':
        audit(deps, context, undefined, 'denied', 'unknown');
        throw signInAgain('This refresh token is unknown or expired; sign in again.');
    }
  };
}

async function claimed(
  deps: RefreshGrantDeps,
  tokenHash: Buffer,
  by: TokenUser | undefined,
): Promise<RefreshClaim> {
  const graceMs = deps.tokens.ttlSeconds * 1000 + EXTRA_GRACE_MS;
  for (let poll = 0; ; poll++) {
    const request = { now: deps.clock(), graceMs, leaseMs: LEASE_MS, ...(by && { by }) };
    const claim = await deps.sessions.claimRefresh(tokenHash, request);
    if (claim.state !== 'busy' || poll === BUSY_POLLS) return claim;
    await sleep(BUSY_POLL_MS);
  }
}

async function askProvider(
  deps: RefreshGrantDeps,
  context: RequestContext,
  session: Session,
  token: string,
  by: TokenUser | undefined,
): Promise<TokenResponse> {
  const provider = deps.provider(session.identity.provider);
  const idpRefreshToken = unseal(deps, context, session);
  if (provider === undefined) return end(deps, context, session, 'provider_removed');
  if (idpRefreshToken === undefined) return end(deps, context, session, 'idp_refresh_token_unreadable');

  let signedIn: SignedIn;
  try {
    signedIn = await provider.refresh(idpRefreshToken, session.identity);
    await deps.tokens.mint(holderOf(signedIn.identity, session.id));
  } catch (error) {
    // The page of the next sign-in says why, and what to do.
    if (error instanceof TokenTooLarge) {
      return end(deps, context, session, 'too_many_groups', error.detail, error.message);
    }
    if (error instanceof SignInRefused) return end(deps, context, session, error.reason, error.detail);
    await release(deps, context, session);
    if (!(error instanceof IdentityProviderUnavailable)) throw error;
    context.log.warn(
      { request_id: context.id, sub: session.identity.sub, detail: error.detail },
      'the identity provider could not be asked about a session; it stays',
    );
    audit(deps, context, session, 'unavailable', 'identity_provider');
    throw tryAgain('The identity provider is not answering; your session stays, try again.', 10, error);
  }

  const { identity } = signedIn;
  const successor = deps.refreshTokens.successorOf(token);
  // A provider that does not rotate repeats nothing (RFC 6749 §6): its token stays good.
  const nextIdpToken = deps.sealer.seal(IDP_REFRESH_TOKEN, signedIn.refreshToken ?? idpRefreshToken);
  const rotated = await rotate(deps, session.id, {
    usedTokenHash: digest(token),
    newTokenHash: digest(successor),
    identity,
    idpRefreshTokenSealed: nextIdpToken,
    now: deps.clock(),
    ...(by && { by }),
  });
  if (!rotated) {
    audit(deps, context, session, 'denied', 'revoked');
    throw signInAgain('This session was revoked meanwhile; sign in again.');
  }
  return answer(deps, context, { ...session, identity }, successor);
}

/** Nobody's bearer token outlives what the provider said when it was asked last. */
function remainingSeconds(deps: RefreshGrantDeps, session: Session): number {
  const age = Math.max(0, deps.clock().getTime() - session.refreshedAt.getTime());
  return Math.floor(deps.tokens.ttlSeconds - age / 1000);
}

/**
 * A replica with another first secret derived the newest token, in the middle of a rotation of secrets. The other
 * process of this developer has it by now, in the credential store that both read.
 */
function unreachable(deps: RefreshGrantDeps, context: RequestContext, session: Session): OAuthError {
  audit(deps, context, session, 'unavailable', 'secret_rotated');
  return tryAgain('This session was refreshed by another process a moment ago; try again.', 1);
}

async function answer(
  deps: RefreshGrantDeps,
  context: RequestContext,
  session: Session,
  refreshToken: string,
  ttlSeconds = deps.tokens.ttlSeconds,
): Promise<TokenResponse> {
  const holder = holderOf(session.identity, session.id);
  const minted = await deps.tokens.mint(holder, ttlSeconds).catch((error: unknown) => {
    throw error instanceof TokenTooLarge ? tokenTooLarge(error, context) : error;
  });
  audit(deps, context, session, 'success', undefined, minted.expiresInSeconds);
  return { ...tokenResponse(minted), refresh_token: refreshToken };
}

function unseal(deps: RefreshGrantDeps, context: RequestContext, session: Session): string | undefined {
  if (session.idpRefreshTokenSealed === null) return undefined;
  try {
    return deps.sealer.open(IDP_REFRESH_TOKEN, session.idpRefreshTokenSealed).toString('utf8');
  } catch (error) {
    if (!(error instanceof UnsealError)) throw error;
    context.log.warn({ request_id: context.id, session_id: session.id, reason: error.reason }, error.message);
    return undefined;
  }
}

/** Ends the session everywhere: its bearer tokens are refused too, although they have not expired. */
async function end(
  deps: RefreshGrantDeps,
  context: RequestContext,
  session: Session,
  reason: string,
  detail?: string,
  description = 'The identity provider no longer vouches for this session; sign in again.',
): Promise<never> {
  await deps.sessions.revoke(session.id, `refresh:${reason}`, deps.clock());
  if (detail !== undefined) {
    context.log.info(
      { request_id: context.id, sub: session.identity.sub, reason, detail },
      'refresh refused',
    );
  }
  audit(deps, context, session, 'denied', reason);
  throw signInAgain(description);
}

/** @throws StoreUnavailableError when the store stays away. */
async function rotate(
  deps: RefreshGrantDeps,
  sessionId: string,
  rotation: Parameters<SessionStore['rotate']>[1],
): Promise<boolean> {
  for (const pause of ROTATE_RETRY_MS) {
    try {
      return await deps.sessions.rotate(sessionId, rotation);
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(pause);
    }
  }
  return deps.sessions.rotate(sessionId, rotation);
}

/** Without this the claim ends by itself, a minute later. */
async function release(deps: RefreshGrantDeps, context: RequestContext, session: Session): Promise<void> {
  await deps.sessions.releaseRefresh(session.id).catch((error: unknown) => {
    context.log.warn({ request_id: context.id, err: error }, 'could not give a refresh claim back');
  });
}

function audit(
  deps: RefreshGrantDeps,
  context: RequestContext,
  session: Session | undefined,
  result: 'success' | 'denied' | 'unavailable',
  reason?: string,
  ttlSeconds?: number,
): void {
  deps.audit('session.refresh', {
    request_id: context.id,
    result,
    reason,
    sub: session?.identity.sub,
    email: session?.identity.email,
    session_id: session?.id,
    client_ip: context.clientAddress,
    ttl_hours: ttlSeconds === undefined ? undefined : ttlSeconds / 3600,
  });
}

/** 401, unlike RFC 6749 §5.2: it is what makes the client sign its user in again. */
function signInAgain(description: string): OAuthError {
  return new OAuthError('invalid_grant', description, { status: 401 });
}
