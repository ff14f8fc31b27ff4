import type { IncomingHttpHeaders } from 'node:http';
import type { TokenUser } from '@claude-gateway/prisma';
import { clientNetwork } from '../../http/client-address.ts';
import type { RequestContext } from '../../http/context.ts';
import { OAuthError } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import type { OAuthForm } from './oauth-form.ts';
import type { MintedToken, TokenTooLarge } from './tokens.ts';

/** A successful answer of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1). */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  /** Seconds. */
  readonly expires_in: number;
  readonly refresh_token?: string;
  /** Extension: who approved the device; the client asks its user to confirm it before it keeps the token. */
  readonly email?: string;
  readonly issued_token_type?: string;
}

/** What one value of `grant_type` does. @throws OAuthError */
export type Grant = (form: OAuthForm, context: RequestContext, by?: TokenUser) => Promise<TokenResponse>;

/** Longer names of programs are cut: nothing that is compared needs more. */
const MAX_PROGRAM_CHARACTERS = 64;

/** Who asks: their network, and the name of their program without its version (RFC 9110 §10.1.5). */
export function tokenUserOf(headers: IncomingHttpHeaders, clientAddress: string): TokenUser {
  const [program = ''] = (headers['user-agent'] ?? '').split(/[/\s(]/, 1);
  return { network: clientNetwork(clientAddress), program: program.slice(0, MAX_PROGRAM_CHARACTERS) };
}

export function tokenResponse(minted: MintedToken): TokenResponse {
  return { access_token: minted.accessToken, token_type: 'Bearer', expires_in: minted.expiresInSeconds };
}

/** A description that says what happened and what to do. */
export function tokenTooLarge({ message, detail }: TokenTooLarge, context: RequestContext): OAuthError {
  context.log.warn({ request_id: context.id, detail }, 'a token was not minted: it names too many groups');
  return new OAuthError('access_denied', message);
}

/** A request that was refused before it was known whose it is. */
export function auditLimited(audit: Audit, { id, clientAddress }: RequestContext, path: string): void {
  audit('auth.denied', {
    request_id: id,
    result: 'denied',
    reason: 'rate_limited',
    path,
    client_ip: clientAddress,
  });
}

/** Too many requests from one address: before the store is asked. @param wait In seconds. */
export function tooManyRequests(wait: number, isPoll: boolean): OAuthError {
  const headers = { 'retry-after': String(wait) };
  const description = `Too many requests come from this network address; wait ${wait} s before the next one.`;
  // Whoever polls has its own word for it, and then asks less often (RFC 8628 §3.5).
  return isPoll
    ? new OAuthError('slow_down', description, { headers })
    : new OAuthError('temporarily_unavailable', description, { status: 429, headers });
}

/** The client keeps its session and asks again. */
export function tryAgain(description: string, seconds: number, cause?: unknown): OAuthError {
  return new OAuthError('temporarily_unavailable', description, {
    headers: { 'retry-after': String(seconds) },
    cause,
  });
}
