import { randomUUID } from 'node:crypto';
import type { DeviceGrantStore, SessionStore } from '@claude-gateway/prisma';
import { OAuthError } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import { tokenResponse, tokenTooLarge, type Grant } from './grant.ts';
import type { RefreshTokens } from './refresh-token.ts';
import { holderOf } from './session-holder.ts';
import { TokenTooLarge, type Tokens } from './tokens.ts';
import { digest } from '../digest.ts';

export const DEVICE_CODE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

export interface DeviceCodeGrantDeps {
  readonly deviceGrants: Pick<DeviceGrantStore, 'poll'>;
  readonly sessions: Pick<SessionStore, 'create'>;
  readonly tokens: Tokens;
  readonly refreshTokens: RefreshTokens;
  readonly audit: Audit;
  readonly clock: () => Date;
}

const NOT_YET = {
  authorization_pending: 'Nobody has approved this device yet.',
  slow_down: 'This device asks too often; wait five seconds longer between two requests.',
  access_denied: 'The sign-in was rejected in the browser.',
  expired_token: 'This device code is unknown, already used or expired. Start the sign-in again.',
} as const;

/**
 * A device asks whether somebody has approved it (RFC 8628 §3.4). When they have, a session begins. It gets a refresh
 * token only if the identity provider gave one: without it there would be nobody to ask whether the person still may.
 */
export function deviceCodeGrant(deps: DeviceCodeGrantDeps): Grant {
  return async (form, context, by) => {
    const now = deps.clock();
    const poll = await deps.deviceGrants.poll(digest(form.require('device_code')), now);
    if (poll.state !== 'approved') throw new OAuthError(poll.state, NOT_YET[poll.state]);

    const { identity, idpRefreshTokenSealed } = poll;
    const id = randomUUID();
    // Before the session: a policy may have named more of their groups since the sign-in.
    const minted = await deps.tokens.mint(holderOf(identity, id)).catch((error: unknown) => {
      throw error instanceof TokenTooLarge ? tokenTooLarge(error, context) : error;
    });
    const refreshToken = idpRefreshTokenSealed === null ? undefined : deps.refreshTokens.create();
    await deps.sessions.create({
      id,
      identity,
      refreshTokenHash: refreshToken === undefined ? null : digest(refreshToken),
      idpRefreshTokenSealed,
      now,
      ...(by && { by }),
    });
    deps.audit('session.mint', {
      request_id: context.id,
      result: 'success',
      sub: identity.sub,
      email: identity.email,
      session_id: id,
      client_ip: context.clientAddress,
      ttl_hours: minted.expiresInSeconds / 3600,
    });
    return {
      ...tokenResponse(minted),
      ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
      ...(identity.email === null ? {} : { email: identity.email }),
    };
  };
}
