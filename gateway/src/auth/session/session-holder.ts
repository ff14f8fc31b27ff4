import type { Identity } from '@claude-gateway/prisma';
import type { TokenHolder } from './tokens.ts';

/** The person of a session, as a bearer token names them. */
export function holderOf(identity: Identity, sessionId: string): TokenHolder {
  const { sub, email, name, groups } = identity;
  return {
    sub,
    ...(email === null ? {} : { email }),
    ...(name === null ? {} : { name }),
    groups,
    sid: sessionId,
    kind: 'user',
  };
}
