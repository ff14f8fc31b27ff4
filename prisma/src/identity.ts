import { lowerAscii } from './storable.ts';
import type { Identity } from './types.ts';

/** The columns that hold an identity, in device_grants and sessions alike. */
export interface IdentityRow {
  readonly sub: string;
  readonly provider: string;
  readonly email: string | null;
  readonly name: string | null;
  readonly groups: string[];
}

export function identityOf({ sub, provider, email, name, groups }: IdentityRow): Identity {
  return { sub, provider, email, name, groups };
}

/** How an email address is searched for: people are one person whatever the case. */
export function emailKey(email: string): string;
export function emailKey(email: string | null): string | null;
export function emailKey(email: string | null): string | null {
  return email === null ? null : lowerAscii(email);
}
