import { createHash, createHmac, hkdfSync, randomUUID } from 'node:crypto';

/** Whom a bearer token is for. */
export interface BearerHolder {
  readonly sub: string;
  readonly email?: string;
  readonly groups?: readonly string[];
}

export interface BearerOptions {
  /** `session.jwt_secret` */
  readonly secret: string;
  /** `listen.public_url` */
  readonly issuer: string;
  /** Whose token: the two programs name their keys differently. */
  readonly program: 'ours' | 'reference';
}

const LIFETIME_SECONDS = 8 * 3600;

/**
 * A bearer token as a sign-in would have given it (HS256, RFC 7519), for tests with more people than could sign in
 * through a browser.
 */
export function mintBearer(holder: BearerHolder, options: BearerOptions, now = Date.now()): string {
  const { secret, issuer, program } = options;
  const keyId =
    program === 'ours'
      ? Buffer.from(hkdfSync('sha256', secret, 'claude-gateway/tokens/v1', 'key-id', 8)).toString('hex')
      : createHash('sha256').update(secret).digest('hex').slice(0, 16);
  const issuedAt = Math.floor(now / 1000);
  const claims = {
    sub: holder.sub,
    ...(holder.email === undefined ? {} : { email: holder.email }),
    name: holder.sub,
    groups: holder.groups ?? [],
    ...(program === 'ours' ? { sid: randomUUID() } : {}),
    aud: 'claude-gateway',
    iss: issuer,
    iat: issuedAt,
    exp: issuedAt + LIFETIME_SECONDS,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT', kid: keyId })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
