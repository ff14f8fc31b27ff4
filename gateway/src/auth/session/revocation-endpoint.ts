import type { RequestHandler } from 'express';
import type { SessionStore } from '@claude-gateway/prisma';
import { contextOf } from '../../http/context.ts';
import type { Audit } from '../../observe/audit.ts';
import type { Principal } from '../../principal.ts';
import type { SignInLimits } from '../limits/sign-in-limits.ts';
import { auditLimited, tooManyRequests } from './grant.ts';
import { oauthFormOf } from './oauth-form.ts';
import { InvalidToken, type Tokens } from './tokens.ts';
import { digest } from '../digest.ts';

export interface RevocationDeps {
  readonly sessions: Pick<SessionStore, 'revoke' | 'revokeByRefreshToken'>;
  readonly tokens: Tokens;
  /** Of this replica: what is refused before the store is asked. */
  readonly limits: SignInLimits;
  readonly audit: Audit;
  readonly clock: () => Date;
}

/**
 * `POST /oauth/revoke` (RFC 7009): signs out the session that a bearer or refresh token belongs to, on every replica.
 * A token that opens nothing anyway is answered with 200 too (§2.2); the hint is not needed, as the two look
 * different.
 */
export function revokeToken(deps: RevocationDeps): RequestHandler {
  return async (request, response) => {
    const { id, clientAddress } = contextOf(request);
    const form = oauthFormOf(request.headers['content-type'], request.body);
    const token = form.require('token');
    const wait = deps.limits.take('token', clientAddress);
    if (wait !== undefined) {
      auditLimited(deps.audit, contextOf(request), request.path);
      throw tooManyRequests(wait, false);
    }
    const now = deps.clock();

    const principal = await verified(deps.tokens, token);
    let sessionId: string | null;
    if (principal === undefined) {
      sessionId = await deps.sessions.revokeByRefreshToken(digest(token), 'sign_out', now);
    } else {
      sessionId = principal.sid;
      await deps.sessions.revoke(principal.sid, 'sign_out', now);
    }
    if (sessionId !== null) {
      deps.audit('session.revoke', {
        request_id: id,
        result: 'success',
        reason: 'sign_out',
        sub: principal?.sub,
        email: principal?.email,
        session_id: sessionId,
        client_ip: clientAddress,
      });
    }
    response.set({ 'cache-control': 'no-store', pragma: 'no-cache' }).status(200).end();
  };
}

async function verified(tokens: Tokens, token: string): Promise<Principal | undefined> {
  try {
    return await tokens.verify(token);
  } catch (error) {
    if (error instanceof InvalidToken) return undefined;
    throw error;
  }
}
