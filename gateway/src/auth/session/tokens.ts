import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { decodeProtectedHeader, errors, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { lowerAscii } from '@claude-gateway/contract';
import type { Principal } from '../../principal.ts';

/** `aud` of every bearer token, as in the reference gateway. */
export const TOKEN_AUDIENCE = 'claude-gateway';

/** Bytes; also the most that HTTP servers in front of us commonly let through in one header. */
const MAX_TOKEN_BYTES = 32 * 1024;

/** Bytes that all other headers of a client's request need, with what proxies add. */
const OTHER_HEADERS_BYTES = 6 * 1024;

/** A compact JWS (RFC 7515 §7.1) whose signature has the length of HS256. */
const WELL_FORMED = /^eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whom a token is minted for. */
export type TokenHolder = Pick<Principal, 'sub' | 'email' | 'name' | 'groups' | 'sid' | 'kind'>;

export interface MintedToken {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
}

export interface Tokens {
  /** The usual lifetime of a token, in seconds. */
  readonly ttlSeconds: number;
  /**
   * @param ttlSeconds When it is to be shorter than usual; never longer: revocations are remembered that long.
   * @throws TokenTooLarge
   */
  mint(holder: TokenHolder, ttlSeconds?: number): Promise<MintedToken>;
  /** @throws InvalidToken */
  verify(token: string): Promise<Principal>;
}

export type InvalidTokenReason =
  | 'malformed'
  | 'unknown_key'
  | 'bad_signature'
  | 'expired'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'bad_claims';

/** A bearer token that opens nothing. `holder` is set when its signature was ours, so that the audit can name them. */
export class InvalidToken extends Error {
  override readonly name = 'InvalidToken';
  readonly reason: InvalidTokenReason;
  readonly holder: { readonly sub?: string; readonly email?: string };

  constructor(reason: InvalidTokenReason, payload?: JWTPayload) {
    super(`invalid bearer token: ${reason}`);
    this.reason = reason;
    this.holder = {
      ...(typeof payload?.sub === 'string' ? { sub: payload.sub } : {}),
      ...(typeof payload?.['email'] === 'string' ? { email: payload['email'] } : {}),
    };
  }
}

/** A token that names so many groups that no request could carry it. `message` is for whoever signs in. */
export class TokenTooLarge extends Error {
  override readonly name = 'TokenTooLarge';
  readonly detail: string;

  constructor(bytes: number, limit: number, groups: number) {
    super(
      `Your account is in ${groups} groups, more than a sign-in to this gateway can carry. ` +
        'Ask your administrator to set session.groups: named, or a groups_filter for your identity provider.',
    );
    this.detail =
      `a token that names ${groups} groups has ${bytes} bytes, and requests may carry ${limit}; set session.groups: named ` +
      'or oidc.groups_filter, or have the identity provider send the groups of this application only';
  }
}

export interface TokenOptions {
  /** `session.jwt_secret`: index 0 signs, all verify. */
  readonly secrets: readonly string[];
  /** `session.ttl_hours`, in seconds. */
  readonly ttlSeconds: number;
  /** `listen.public_url`: `iss`. Gateways that share a secret do not accept each other's tokens. */
  readonly issuer: string;
  /** `limits.max_request_header_bytes`: what the listener accepts of all headers together. */
  readonly maxHeaderBytes?: number | undefined;
  /** `session.groups: named`: whether something names a group now. Absent: a token names all groups of its holder. */
  readonly isNamedGroup?: ((group: string) => boolean) | undefined;
  readonly clock: () => Date;
}

interface Key {
  readonly id: string;
  readonly key: KeyObject;
}

/**
 * Bearer tokens: HS256 JWTs (RFC 7519) that carry who the holder is, so that no replica asks the store about them.
 * See docs/adr/0011 for why they look as they do.
 *
 * @throws Error when there is no secret.
 */
export function createTokens(options: TokenOptions): Tokens {
  const { issuer, clock, maxHeaderBytes, isNamedGroup } = options;
  const maxTokenBytes =
    maxHeaderBytes === undefined
      ? MAX_TOKEN_BYTES
      : Math.min(MAX_TOKEN_BYTES, Math.max(maxHeaderBytes - OTHER_HEADERS_BYTES, maxHeaderBytes / 2));
  const [signing, ...others] = options.secrets.map(keyOf);
  if (signing === undefined) throw new Error('session.jwt_secret needs at least one entry');
  const keys = new Map([signing, ...others].map(({ id, key }) => [id, key]));
  const verification = { algorithms: ['HS256'], issuer, audience: TOKEN_AUDIENCE, requiredClaims: ['exp'] };

  return {
    ttlSeconds: options.ttlSeconds,

    async mint(holder, ttlSeconds = options.ttlSeconds) {
      const expiresInSeconds = Math.min(ttlSeconds, options.ttlSeconds);
      const issuedAt = Math.floor(clock().getTime() / 1000);
      const { email, name, sid, kind } = holder;
      const groups = isNamedGroup === undefined ? holder.groups : holder.groups.filter(isNamedGroup);
      const claims = {
        ...(email === undefined ? {} : { email }),
        ...(name === undefined ? {} : { name }),
        groups,
        sid,
        ...(kind === 'workload' ? { kind } : {}),
      };
      const accessToken = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: signing.id })
        .setIssuer(issuer)
        .setAudience(TOKEN_AUDIENCE)
        .setSubject(holder.sub)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + expiresInSeconds)
        .sign(signing.key);
      if (accessToken.length > maxTokenBytes) {
        throw new TokenTooLarge(accessToken.length, Math.floor(maxTokenBytes), groups.length);
      }
      return { accessToken, expiresInSeconds };
    },

    async verify(token) {
      if (token.length > MAX_TOKEN_BYTES || !WELL_FORMED.test(token)) throw new InvalidToken('malformed');
      const key = keys.get(keyIdOf(token));
      if (key === undefined) throw new InvalidToken('unknown_key');
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, key, { ...verification, currentDate: clock() }));
      } catch (error) {
        throw translate(error);
      }
      return principalOf(payload);
    },
  };
}

function keyOf(secret: string): Key {
  // Derived, not a plain digest: the id tells nothing that helps to guess a weak secret faster than the signature does.
  const id = Buffer.from(hkdfSync('sha256', secret, 'claude-gateway/tokens/v1', 'key-id', 8)).toString('hex');
  return { id, key: createSecretKey(secret, 'utf8') };
}

function keyIdOf(token: string): string {
  try {
    return decodeProtectedHeader(token).kid ?? '';
  } catch {
    throw new InvalidToken('malformed');
  }
}

function translate(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) return new InvalidToken('expired', error.payload);
  if (error instanceof errors.JWTClaimValidationFailed) {
    const reason =
      error.claim === 'iss' ? 'wrong_issuer' : error.claim === 'aud' ? 'wrong_audience' : 'bad_claims';
    return new InvalidToken(reason, error.payload);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return new InvalidToken('bad_signature');
  if (error instanceof errors.JOSEError) return new InvalidToken('malformed');
  return error;
}

/** @throws InvalidToken: a token without `sid` could not be revoked, so it is none of ours. */
function principalOf(payload: JWTPayload): Principal {
  const { sub, exp } = payload;
  const { sid, email, name, groups = [], kind = 'user' } = payload as Record<string, unknown>;
  if (
    typeof sub !== 'string' ||
    sub === '' ||
    typeof exp !== 'number' ||
    typeof sid !== 'string' ||
    !UUID.test(sid) ||
    (email !== undefined && typeof email !== 'string') ||
    (name !== undefined && typeof name !== 'string') ||
    (kind !== 'user' && kind !== 'workload') ||
    !isStrings(groups)
  ) {
    throw new InvalidToken('bad_claims', payload);
  }
  return {
    sub,
    ...(email === undefined ? {} : { email: lowerAscii(email) }),
    ...(name === undefined ? {} : { name }),
    groups,
    sid,
    kind,
    expiresAt: exp,
  };
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
