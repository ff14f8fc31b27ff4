import type { LimitContent, LimitOwner } from '../ledger/limit-types.ts';
import type { ManagedPolicyContent } from '../managed/types.ts';

/** Rows of one custom resource. */
export interface OwnedRows {
  readonly owner: LimitOwner;
  /** What people call it. */
  readonly policyName: string;
  /** To be written: absent leaves them as they are, none deletes them. Read: absent when there are none. */
  readonly limits?: readonly LimitContent[];
  /** As `limits`. */
  readonly managed?: readonly ManagedPolicyContent[];
}

/** A gateway that is up. */
export interface LiveReplica {
  readonly id: string;
  /** Its host: in a cluster, the name of its pod. */
  readonly name: string;
  /** Since its last heartbeat, in ms, by the clock of the database; 0 when it does not tell. */
  readonly silentMs: number;
  /** The revision that it enforces. */
  readonly policyRevision: bigint;
  /** Of the program; null when it does not tell. */
  readonly version: string | null;
  /** Its last heartbeat, by the clock of the database. */
  readonly seenAt: Date;
}

/** What one limit of a resource comes to in its current period, in the limit's unit. */
export interface PolicySpending {
  readonly ownerUid: string;
  /** Which limit. */
  readonly content: LimitContent;
  /** Of a pool or a user: the window's. Per member: of the member who has spent most. */
  readonly spent: bigint;
  /** Of the same window: what replicas hold for requests under way, and at hand. */
  readonly held: bigint;
  /** When the current period ends. */
  readonly resetsAt: Date;
  /** Who has spent anything under this limit; 0 for a pool. */
  readonly members: number;
  /** Whose `spent + held` has reached the limit; 0 for a pool. */
  readonly blockedMembers: number;
}

/** Everything that the operator asks of a gateway's database. */
export interface OperatorPolicyStore {
  /**
   * Makes the rows of these resources exactly these: one transaction, and one bump of the revision for all of it, none when
   * nothing differs. Callers take their turns.
   *
   * @returns the revision that has them, and the uids of the owners whose rows had to be written.
   * @throws Error before anything is written, when one owner is named twice, or has two limits of one key or two
   *   managed policies of one name.
   */
  replaceOwned(
    changes: readonly OwnedRows[],
    now: Date,
  ): Promise<{ readonly revision: bigint; readonly changed: readonly string[] }>;
  /** Every row that a resource owns, by the uid of the owner, as of one moment. */
  readOwned(): Promise<{ readonly revision: bigint; readonly owned: ReadonlyMap<string, OwnedRows> }>;
  /** The gateways that are up, and the revision each enforces. */
  replicas(): Promise<readonly LiveReplica[]>;
  /** For each limit that a resource owns: what is spent and held in its current window. */
  spending(now: Date): Promise<readonly PolicySpending[]>;
  /**
   * Who of these has been seen: signed in, or asked for something. Users are subjects or email addresses, in any letter
   * case; the answer has them as they were asked for.
   */
  seen(subjects: {
    readonly groups: readonly string[];
    readonly users: readonly string[];
  }): Promise<{ readonly groups: ReadonlySet<string>; readonly users: ReadonlySet<string> }>;
  /**
   * Clients of managed settings, by the uid of the owner: whose last fetched settings come from the present document, and
   * who has an older one. Owners that nobody has anything of, or that are gone, are left out.
   */
  settingsClients(
    now: Date,
  ): Promise<ReadonlyMap<string, { readonly current: number; readonly stale: number }>>;
}
