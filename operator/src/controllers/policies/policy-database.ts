import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatorPolicyStore, OwnedRows, PolicySpending } from '@claude-gateway/prisma';
import type { ControllerLog } from '../../kube/controller.ts';
import { fingerprintOf, type CompiledPolicy } from './compiled.ts';

export type Replica = Awaited<ReturnType<OperatorPolicyStore['replicas']>>[number];
type Seen = Awaited<ReturnType<OperatorPolicyStore['seen']>>;
type SettingsClients = Awaited<ReturnType<OperatorPolicyStore['settingsClients']>>;

type Owned = Map<string, { readonly rows: OwnedRows; readonly fingerprint: string }>;

/** What is wanted in a database. */
export interface WantedRows {
  /** By uid of the owner. */
  readonly policies: ReadonlyMap<string, CompiledPolicy>;
  /** Rows of other owners from these namespaces are removed. */
  readonly namespaces: ReadonlySet<string>;
}

export interface PolicyDatabaseOptions {
  readonly store: OperatorPolicyStore;
  /** For people: host and database. */
  readonly name: string;
  /** Groups and users of the policies, to find out who of them has been seen. */
  readonly subjects: () => { readonly groups: readonly string[]; readonly users: readonly string[] };
  /** Told of the owners about whom something else is known than before; `all` when it may be any of them. */
  readonly onChange: (owners: readonly string[] | 'all') => void;
  readonly log: ControllerLog;
  readonly now?: () => Date;
  /** How often spending and the like are read, in ms. Default 30 000. */
  readonly interval?: number;
  /** How often replicas are asked while they have not taken over a change, in ms. Default 100. */
  readonly followInterval?: number;
}

/** How long replicas are watched closely after a change, in ms; a replica that needs longer is not coming soon. */
const FOLLOW_FOR_MS = 30_000;
/** How often it is looked who has been heard of, in ms. */
const LISTEN_MS = 5_000;
/** Two heartbeats that did not come, and some, in ms. */
const MAX_SILENCE_MS = 15_000;

/**
 * The rows of custom resources in one database: written where they differ from what is wanted, and read back to see who
 * enforces them and what was spent.
 */
export class PolicyDatabase {
  readonly name: string;
  readonly #options: PolicyDatabaseOptions;
  readonly #now: () => Date;
  readonly #abort = new AbortController();
  /** What the database has, by uid of the owner. */
  #owned: Owned | undefined;
  /** The revision that brought the present rows of an owner, as far as is known. */
  readonly #revisions = new Map<string, bigint>();
  /** Owners whose rows were there already, brought by the revision that was then the present one, or an earlier one. */
  readonly #assumed = new Set<string>();
  #revision: bigint | undefined;
  #replicas: readonly Replica[] = [];
  /** Names of the ready pods, by the key of their gateway. */
  readonly #readyPods = new Map<string, readonly string[]>();
  /** How often replicas were asked for, and which of these times #replicas is from. */
  #askedForReplicas = 0;
  #replicasOf = 0;
  #spending = new Map<string, PolicySpending[]>();
  #clients: SettingsClients = new Map();
  #seen: Seen | undefined;
  #problem: string | undefined;
  readonly #announced = new Map<string, string>();
  /** Reading and writing rows take turns, so that nobody takes an older state for the present one. */
  #turn: Promise<unknown> = Promise.resolve();
  #following: Promise<void> | undefined;
  readonly #refreshing: Promise<void>;
  readonly #listening: Promise<void>;

  constructor(options: PolicyDatabaseOptions) {
    this.#options = options;
    this.name = options.name;
    this.#now = options.now ?? (() => new Date());
    this.#refreshing = this.#refreshForever();
    this.#listening = this.#listenForever();
  }

  /** Why the database cannot be read or written at the moment, for people. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Whether it has been read once. */
  get known(): boolean {
    return this.#seen !== undefined;
  }

  /** Of the policies. */
  get revision(): bigint | undefined {
    return this.#revision;
  }

  /** Those that were heard of lately; of those that were not, the ones that have a ready pod are told by {@link silentPods}. */
  get replicas(): readonly Replica[] {
    return this.#replicas.filter(isHeard);
  }

  /** Ready pods of a gateway that have not been heard of for some seconds. */
  silentPods(gateway: string): readonly string[] {
    const heard = new Set(this.replicas.map(({ name }) => name));
    return (this.#readyPods.get(gateway) ?? []).filter((name) => !heard.has(name));
  }

  /** A pod that has just become ready is looked for first, so that it does not count as silent for that long. */
  async setReadyPods(gateway: string, names: readonly string[]): Promise<void> {
    const known = new Set(this.#readyPods.get(gateway));
    if (names.some((name) => !known.has(name))) {
      try {
        await this.#readReplicas();
      } catch {
        // The refresh tells of it.
        return;
      }
    }
    this.#readyPods.set(gateway, names);
    this.#announce();
  }

  /** Whether there are rows of this owner; undefined as long as it is not known. */
  has(uid: string): boolean | undefined {
    return this.#owned?.has(uid);
  }

  /** The revision that has these rows of the owner; undefined when the database has others. */
  revisionOf(uid: string, fingerprint: string | undefined): bigint | undefined {
    if (fingerprint !== undefined && this.#owned?.get(uid)?.fingerprint !== fingerprint) return undefined;
    return this.#revisions.get(uid);
  }

  /** After a restart of the operator: what the status says, so that it need not change. */
  adoptRevision(uid: string, revision: bigint): void {
    if (!this.#assumed.delete(uid) || revision >= (this.#revisions.get(uid) ?? 0n)) return;
    this.#revisions.set(uid, revision);
    this.#announce();
  }

  spendingOf(uid: string): readonly PolicySpending[] {
    return this.#spending.get(uid) ?? [];
  }

  clientsOf(uid: string): { readonly current: number; readonly stale: number } {
    return this.#clients.get(uid) ?? { current: 0, stale: 0 };
  }

  /** Whether anybody of this name was ever seen; undefined while that is not known. */
  hasSeen(subject: { readonly group: string } | { readonly user: string }): boolean | undefined {
    return 'group' in subject ? this.#seen?.groups.has(subject.group) : this.#seen?.users.has(subject.user);
  }

  /**
   * Makes the rows what is wanted, in one transaction; writes nothing when they are.
   *
   * @throws StoreUnavailableError, Error
   */
  async sync(wanted: WantedRows): Promise<void> {
    try {
      await this.#inTurn(() => this.#write(wanted));
    } catch (error) {
      this.#setProblem(error instanceof Error ? error.message : String(error));
      throw error;
    }
    this.#follow();
  }

  async #write(wanted: WantedRows): Promise<void> {
    const owned = this.#owned ?? (await this.#readOwned());
    const changes = changesBetween(owned, wanted);
    if (changes.length === 0) return;
    const { revision } = await this.#options.store.replaceOwned(changes, this.#now());
    for (const rows of changes) {
      const { uid } = rows.owner;
      const present = { ...owned.get(uid)?.rows, ...rows };
      if (isEmpty(present)) {
        owned.delete(uid);
        this.#revisions.delete(uid);
      } else {
        owned.set(uid, { rows: present, fingerprint: fingerprintOf(present) });
        this.#revisions.set(uid, revision);
      }
      this.#announced.delete(uid);
      this.#assumed.delete(uid);
    }
    this.#revision = revision;
    this.#options.onChange(changes.map(({ owner }) => owner.uid));
    this.#options.log.info(
      { database: this.name, revision: String(revision), policies: changes.length },
      `wrote the rows of ${changes.length} ${changes.length === 1 ? 'policy' : 'policies'}`,
    );
  }

  /** Reads everything anew, rows that somebody changed by hand included. @returns whether there were any. */
  async refresh(): Promise<boolean> {
    const { store, subjects } = this.#options;
    const now = this.#now();
    let drifted = false;
    await this.#inTurn(async () => {
      const before = this.#owned;
      const owned = await this.#readOwned();
      drifted =
        before !== undefined &&
        (before.size !== owned.size ||
          [...owned].some(([uid, { fingerprint }]) => before.get(uid)?.fingerprint !== fingerprint));
    });
    const [, spending, clients, seen] = await Promise.all([
      this.#readReplicas(),
      store.spending(now),
      store.settingsClients(now),
      store.seen(subjects()),
    ]);
    this.#spending = Map.groupBy(spending, ({ ownerUid }) => ownerUid);
    this.#clients = clients;
    this.#seen = seen;
    this.#announce();
    return drifted;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all([
      this.#refreshing,
      this.#listening,
      this.#following,
      this.#turn.catch(() => undefined),
    ]);
  }

  async #readOwned(): Promise<Owned> {
    const { revision, owned } = await this.#options.store.readOwned();
    const read = new Map<string, { rows: OwnedRows; fingerprint: string }>();
    for (const [uid, rows] of owned) {
      const fingerprint = fingerprintOf(rows);
      read.set(uid, { rows, fingerprint });
      // It was in force by then at the latest.
      if (
        this.#owned?.get(uid)?.fingerprint !== fingerprint ||
        (this.#revisions.get(uid) ?? revision) > revision
      )
        this.#revisions.set(uid, revision);
      if (this.#owned === undefined) this.#assumed.add(uid);
    }
    this.#owned = read;
    this.#revision = revision;
    return read;
  }

  async #refreshForever(): Promise<void> {
    const { interval = 30_000, onChange } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        const first = !this.known;
        if ((await this.refresh()) || first) onChange('all');
        this.#setProblem(undefined);
      } catch (error) {
        this.#setProblem(error instanceof Error ? error.message : String(error));
      }
      // Away, it is looked for more often: whoever waits for it waits at 3 a.m.
      const pause = this.#problem === undefined ? interval : Math.min(interval, 2000);
      await sleep(pause * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  #setProblem(problem: string | undefined): void {
    if (this.#problem === problem || this.#abort.signal.aborted) return;
    const { log, onChange } = this.#options;
    this.#problem = problem;
    if (problem === undefined) log.info({ database: this.name }, 'the database answers again');
    else log.warn({ database: this.name }, `the policies in the database cannot be read: ${problem}`);
    onChange('all');
  }

  /** Who falls silent is to be told within seconds, and not with the next refresh. */
  async #listenForever(): Promise<void> {
    const { interval = 30_000 } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await sleep(Math.min(interval, LISTEN_MS), undefined, { signal }).catch(() => undefined);
      if (signal.aborted || this.#problem !== undefined || !this.known) continue;
      await this.#readReplicas().then(
        () => this.#announce(),
        // The refresh tells of it.
        () => undefined,
      );
    }
  }

  /** Asks the replicas for their revision until all of them have the present one. */
  #follow(): void {
    this.#following ??= this.#followReplicas().finally(() => (this.#following = undefined));
  }

  /** What was asked later wins, whatever comes in first: a replica never goes back to an older revision. */
  async #readReplicas(): Promise<void> {
    const time = ++this.#askedForReplicas;
    const replicas = await this.#options.store.replicas();
    if (time < this.#replicasOf) return;
    this.#replicasOf = time;
    this.#replicas = replicas;
  }

  async #followReplicas(): Promise<void> {
    const { followInterval = 100 } = this.#options;
    const { signal } = this.#abort;
    const end = performance.now() + FOLLOW_FOR_MS;
    while (!signal.aborted && performance.now() < end) {
      try {
        await this.#readReplicas();
      } catch {
        // The refresh tells of it.
        return;
      }
      this.#announce();
      const { revision } = this;
      if (this.#replicas.every(({ policyRevision }) => revision === undefined || policyRevision >= revision))
        return;
      await sleep(followInterval, undefined, { signal }).catch(() => undefined);
    }
  }

  #announce(): void {
    const changed: string[] = [];
    for (const uid of this.#owned?.keys() ?? []) {
      const projection = this.#projection(uid);
      if (this.#announced.get(uid) === projection) continue;
      this.#announced.set(uid, projection);
      changed.push(uid);
    }
    if (changed.length > 0) this.#options.onChange(changed);
  }

  /** All that a policy's status may say of this database. */
  #projection(uid: string): string {
    const revision = this.#revisions.get(uid) ?? 0n;
    const { replicas } = this;
    const current = replicas.filter(({ policyRevision }) => policyRevision >= revision).length;
    const silent = [...this.#readyPods.keys()].flatMap((gateway) => this.silentPods(gateway));
    const spending = this.spendingOf(uid).map((one) => [
      one.spent,
      one.held,
      one.members,
      one.blockedMembers,
      one.resetsAt,
    ]);
    const subjects = (this.#owned?.get(uid)?.rows.limits ?? []).map(({ scope }) =>
      scope.type === 'rbac_group'
        ? this.hasSeen({ group: scope.group })
        : scope.type === 'user' && this.hasSeen({ user: scope.user }),
    );
    return JSON.stringify(
      [String(revision), current, replicas.length, silent, spending, this.#clients.get(uid), subjects],
      (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value),
    );
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(task, task);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** Replicas are heard of every five seconds; see Liveness in the gateway. */
const isHeard = ({ silentMs }: Replica): boolean => silentMs < MAX_SILENCE_MS;

/** What is to be written so that `owned` becomes what is wanted. Rows of a policy that does not compile stay as they are. */
export function changesBetween(
  owned: ReadonlyMap<string, { readonly rows: OwnedRows; readonly fingerprint: string }>,
  { policies, namespaces }: WantedRows,
): OwnedRows[] {
  const changes: OwnedRows[] = [];
  for (const [uid, { rows, fingerprint }] of policies)
    if (rows !== undefined && owned.get(uid)?.fingerprint !== fingerprint) changes.push(rows);
  for (const [uid, { rows }] of owned) {
    if (policies.has(uid) || !namespaces.has(rows.owner.namespace)) continue;
    changes.push({ owner: rows.owner, policyName: rows.policyName, limits: [], managed: [] });
  }
  return changes;
}

function isEmpty({ limits = [], managed = [] }: OwnedRows): boolean {
  return limits.length === 0 && managed.length === 0;
}
