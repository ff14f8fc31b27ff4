/**
 * Who a request acts for, as the session token says it. Rooms read it; only `auth` makes one.
 */
export interface Principal {
  /** Stable key of the person or workload: the identity provider's `sub` (prefixed for further providers). */
  readonly sub: string;
  /** Lower-cased address, absent for workloads that have none. */
  readonly email?: string;
  readonly name?: string;
  /** Group names exactly as the identity provider spells them. */
  readonly groups: readonly string[];
  /** Session id: what revocation names. */
  readonly sid: string;
  /** `user` signed in through a browser; `workload` exchanged a token of its platform. */
  readonly kind: 'user' | 'workload';
  /** When the bearer token expires, in seconds since the epoch. */
  readonly expiresAt: number;
}
