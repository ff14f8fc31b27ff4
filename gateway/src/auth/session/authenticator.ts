import type { IncomingHttpHeaders } from 'node:http';
import type { RevocationFeed } from '@claude-gateway/prisma';
import type { RequestContext } from '../../http/context.ts';
import { unauthenticated } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import type { Principal } from '../../principal.ts';
import { RecentMap } from '../../recent-map.ts';
import { EXPIRED, reasonToSignInAgain } from './reasons.ts';
import { InvalidToken, type Tokens } from './tokens.ts';

/** Tokens remembered per replica, of which those of 15,000 people stay: some 30 MB when full. */
const DEFAULT_CACHE_SIZE = 30_000;

export interface AuthenticatorOptions {
  readonly tokens: Tokens;
  readonly revocations: Pick<RevocationFeed, 'isRevoked' | 'reasonOf'>;
  readonly audit: Audit;
  readonly clock: () => Date;
  readonly cacheSize?: number;
}

export interface AuthenticateOptions {
  /** Also take the bearer from `x-api-key`, as `GET /v1/models` does. `Authorization` goes first. */
  readonly allowApiKey?: boolean;
}

/** Finds out whom a request acts for. On the path of every request. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #known: RecentMap<string, Principal>;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#known = new RecentMap(options.cacheSize ?? DEFAULT_CACHE_SIZE);
  }

  /**
   * Answers at once when this token was verified here before, and with a promise otherwise. Expiry and revocation
   * are looked at every time. Refusals leave an `auth.denied` event.
   *
   * @throws ApiError (401, `x-should-retry: false`), or rejects with it: `await` covers both.
   */
  authenticate(
    headers: IncomingHttpHeaders,
    context: Pick<RequestContext, 'id' | 'clientAddress'>,
    options?: AuthenticateOptions,
  ): Principal | Promise<Principal> {
    const token = bearerOf(headers, options?.allowApiKey === true);
    if (token === undefined) return this.#deny(context, 'missing');
    const principal = this.#known.get(token);
    if (principal === undefined) return this.#verify(token, context);
    if (principal.expiresAt * 1000 <= this.#options.clock().getTime()) {
      this.#known.delete(token);
      return this.#deny(context, 'expired', principal);
    }
    return this.#unlessRevoked(principal, context);
  }

  async #verify(token: string, context: Pick<RequestContext, 'id' | 'clientAddress'>): Promise<Principal> {
    let principal: Principal;
    try {
      principal = await this.#options.tokens.verify(token);
    } catch (error) {
      if (error instanceof InvalidToken) return this.#deny(context, error.reason, error.holder);
      throw error;
    }
    this.#known.set(token, principal);
    return this.#unlessRevoked(principal, context);
  }

  #unlessRevoked(principal: Principal, context: Pick<RequestContext, 'id' | 'clientAddress'>): Principal {
    if (this.#options.revocations.isRevoked(principal.sid)) {
      const why = reasonToSignInAgain(this.#options.revocations.reasonOf(principal.sid));
      return this.#deny(context, 'revoked', principal, why);
    }
    return principal;
  }

  #deny(
    context: Pick<RequestContext, 'id' | 'clientAddress'>,
    reason: string,
    holder: { readonly sub?: string; readonly email?: string } = {},
    // Only whoever holds a token that was ours is told more than that they have to sign in.
    why = reason === 'expired' && holder.sub !== undefined ? EXPIRED : undefined,
  ): never {
    this.#options.audit('auth.denied', {
      request_id: context.id,
      result: 'denied',
      reason,
      sub: holder.sub,
      email: holder.email,
      client_ip: context.clientAddress,
    });
    throw unauthenticated(why);
  }
}

/** RFC 6750 §2.1; the scheme's name is case-insensitive (RFC 9110 §11.1). */
function bearerOf(headers: IncomingHttpHeaders, allowApiKey: boolean): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) {
    if (authorization.startsWith('Bearer ')) return authorization.slice(7);
    return /^bearer +(\S+)$/i.exec(authorization)?.[1];
  }
  if (!allowApiKey) return undefined;
  const key = headers['x-api-key'];
  return typeof key === 'string' ? key : undefined;
}
