import type { LimitOwner } from '../ledger/limit-types.ts';

/** What a resource wants to have in the policies that a gateway serves to Claude Code. */
export interface ManagedPolicyContent {
  /** Unique among the policies of its owner: the resource's name, and something more when it makes several. */
  readonly name: string;
  /** Higher ones come first. */
  readonly priority: number;
  /** Order among the policies of one owner. */
  readonly position: number;
  /** One entry of `managed.policies` of the gateway's configuration, as JSON; kept as it was written. */
  readonly document: unknown;
}

export interface ManagedPolicyRow extends ManagedPolicyContent {
  readonly owner: LimitOwner;
  /** `sha256:` and the hex digest of the document with its keys sorted: equal for documents that say the same. */
  readonly documentHash: string;
}

/** All managed policies, as of one revision: by priority (highest first), name of the owner, and position. */
export interface ManagedPolicySet {
  readonly revision: bigint;
  readonly policies: readonly ManagedPolicyRow[];
}

/** Managed policies that resources brought. They share the revision of the limits: either changing bumps it. */
export interface ManagedPolicyStore {
  readAll(): Promise<ManagedPolicySet>;
  /** The revision alone: one cheap statement. */
  revision(): Promise<bigint>;
  /** Called when policies or limits have changed, within milliseconds; poll {@link revision} as the net below it. */
  onChange(listener: () => void): () => void;
}

/** What one client fetched last. */
export interface SettingsFetch {
  /** Names the client: one device of one person, as far as it can be told. */
  readonly client: string;
  /** Subject of whoever it is signed in as. */
  readonly principal: string;
  /** The policies that its settings were made from; at most one for each owner. */
  readonly documents: readonly { readonly ownerUid: string; readonly documentHash: string }[];
  readonly at: Date;
}

/** Which clients have which managed policies. A client that has not asked for 24 h is forgotten. */
export interface SettingsClientStore {
  /**
   * Makes what is known of each of these clients exactly this. Of several entries for one client the latest counts,
   * also against what is already known.
   */
  record(entries: readonly SettingsFetch[]): Promise<void>;
}
