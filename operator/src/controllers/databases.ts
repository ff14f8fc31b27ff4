import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store, StoreOptions } from '@claude-gateway/prisma';
import type { ControllerLog } from '../kube/controller.ts';
import { PolicyDatabase, type PolicyDatabaseOptions } from './policies/policy-database.ts';

/** How to reach a database. */
export type DatabaseTarget = Pick<StoreOptions, 'url' | 'username' | 'password' | 'connectTimeoutSeconds'>;

export interface DatabasesOptions {
  /** Connects, and brings the schema up to date. */
  readonly open: (target: DatabaseTarget) => Promise<Store>;
  readonly subjects: (gatewayKeys: readonly string[]) => ReturnType<PolicyDatabaseOptions['subjects']>;
  /** Something is known of a database of these gateways that was not known before. */
  readonly onChange: (gatewayKeys: readonly string[], owners: readonly string[] | 'all') => void;
  readonly log: ControllerLog;
  /** How often databases are looked at when nothing happens, in ms. */
  readonly interval?: number | undefined;
  /** How long one gateway waits for its database before others have their turn, in ms. Default 10 000. */
  readonly patience?: number | undefined;
}

const PATIENCE_MS = 10_000;

interface Opened {
  readonly store: Store;
  readonly policies: PolicyDatabase;
}

interface Connection {
  readonly id: string;
  /** For people: host and database. */
  readonly name: string;
  readonly gateways: Set<string>;
  readonly opening: Promise<Opened>;
  /** Once open. */
  opened: Opened | undefined;
  /** Somebody did not want to wait any longer, and is told how it ends. */
  isLate: boolean;
}

class StillOpeningError extends Error {
  constructor(name: string, patience: number) {
    super(`${name} was not ready after ${patience / 1000} s: it is still being connected to or migrated`);
  }
}

/** The databases of the gateways. Gateways that name the same one share the connection, and so their policies. */
export class Databases {
  readonly #options: DatabasesOptions;
  readonly #connections = new Map<string, Connection>();
  readonly #byGateway = new Map<string, Connection>();
  readonly #problems = new Map<string, string>();
  readonly #notAccepted = new Set<string>();

  constructor(options: DatabasesOptions) {
    this.#options = options;
  }

  /**
   * The database of a gateway, connected and migrated; leaves the one that it had before when that is another one. What takes
   * longer than a moment goes on without anybody waiting for it: a database that is silent, or that does not stop answering, must
   * not keep a worker from other gateways. `onChange` tells how it ended.
   *
   * @throws Error, for people: it names the host, and never a password.
   */
  async attach(gateway: string, target: DatabaseTarget): Promise<PolicyDatabase> {
    const id = createHash('sha256')
      .update(JSON.stringify([target.url, target.username, target.password]))
      .digest('hex');
    const wasNotAccepted = this.#notAccepted.delete(gateway);
    const present = this.#byGateway.get(gateway);
    if (present !== undefined && present.id !== id) await this.detach(gateway);
    const connection = this.#connections.get(id) ?? this.#connect(id, target);
    const joins = !connection.gateways.has(gateway) && connection.gateways.size > 0;
    connection.gateways.add(gateway);
    this.#byGateway.set(gateway, connection);
    try {
      const { policies } = await this.#patiently(connection);
      if (joins) this.#options.onChange([...connection.gateways], 'all');
      if (this.#problems.delete(gateway) || wasNotAccepted) this.#options.onChange([gateway], 'all');
      return policies;
    } catch (error) {
      if (!(error instanceof StillOpeningError)) this.#drop(connection);
      const { message } = error as Error;
      if (this.#problems.get(gateway) !== message) {
        this.#problems.set(gateway, message);
        this.#options.onChange([gateway], 'all');
      }
      throw error;
    }
  }

  async #patiently(connection: Connection): Promise<Opened> {
    const { patience = PATIENCE_MS, onChange } = this.#options;
    if (connection.opened !== undefined) return connection.opened;
    const abort = new AbortController();
    const late = sleep(patience, undefined, { signal: abort.signal }).then(() => {
      if (!connection.isLate) {
        connection.isLate = true;
        const tell = (): void => onChange([...connection.gateways], 'all');
        connection.opening.then(tell, () => {
          const { gateways } = connection;
          this.#drop(connection);
          onChange([...gateways], 'all');
        });
      }
      throw new StillOpeningError(connection.name, patience);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([connection.opening, late]);
    } finally {
      abort.abort();
    }
  }

  /** It could not be opened: the next attempt is a new one. */
  #drop(connection: Connection): void {
    if (this.#connections.get(connection.id) === connection) this.#connections.delete(connection.id);
    for (const gateway of connection.gateways)
      if (this.#byGateway.get(gateway) === connection) this.#byGateway.delete(gateway);
  }

  /** The gateway's spec never made sense: nobody knows its database. */
  setNotAccepted(gateway: string): void {
    if (this.#notAccepted.has(gateway)) return;
    this.#notAccepted.add(gateway);
    this.#options.onChange([gateway], 'all');
  }

  isNotAccepted(gateway: string): boolean {
    return this.#notAccepted.has(gateway);
  }

  /** The database of a gateway, where it is open. */
  of(gateway: string): PolicyDatabase | undefined {
    return this.#byGateway.get(gateway)?.opened?.policies;
  }

  /** Why a gateway has no database, or its database does not answer. */
  problemOf(gateway: string): string | undefined {
    return this.#problems.get(gateway) ?? this.of(gateway)?.problem;
  }

  /** Whether it is known how things stand in the database of a gateway, or why not. */
  isKnown(gateway: string): boolean {
    return (
      this.isNotAccepted(gateway) || this.problemOf(gateway) !== undefined || this.of(gateway)?.known === true
    );
  }

  /** The gateways that share the database of this one, itself included. */
  sharing(gateway: string): readonly string[] {
    return [...(this.#byGateway.get(gateway)?.gateways ?? [])];
  }

  /** These pods of a gateway are ready: who of them the database does not hear of, enforces nothing for certain. */
  async setReadyPods(gateway: string, names: readonly string[]): Promise<void> {
    await this.of(gateway)?.setReadyPods(gateway, names);
  }

  /** The gateway is gone, or has another database now. */
  async detach(gateway: string): Promise<void> {
    this.#problems.delete(gateway);
    this.#notAccepted.delete(gateway);
    const connection = this.#byGateway.get(gateway);
    this.#byGateway.delete(gateway);
    if (connection === undefined || !connection.gateways.delete(gateway)) return;
    if (connection.gateways.size > 0) {
      this.#options.onChange([...connection.gateways], 'all');
      return;
    }
    this.#connections.delete(connection.id);
    await close(connection);
  }

  async close(): Promise<void> {
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    this.#byGateway.clear();
    await Promise.all(connections.map(close));
  }

  #connect(id: string, target: DatabaseTarget): Connection {
    const { open, subjects, onChange, log, interval } = this.#options;
    const name = nameOf(target.url);
    const gateways = new Set<string>();
    const opening = open(target).then((store) => {
      const policies = new PolicyDatabase({
        store: store.policies,
        name,
        subjects: () => subjects([...gateways]),
        onChange: (owners) => onChange([...gateways], owners),
        log,
        ...(interval !== undefined && { interval }),
      });
      connection.opened = { store, policies };
      return connection.opened;
    });
    const connection: Connection = { id, name, gateways, opening, opened: undefined, isLate: false };
    this.#connections.set(id, connection);
    return connection;
  }
}

/** Does not wait for what is still being opened: that is closed as soon as it is. */
async function close({ opened, opening }: Connection): Promise<void> {
  const closing = opening.then(
    async ({ policies, store }) => {
      await policies.close();
      await store.close();
    },
    () => undefined,
  );
  if (opened === undefined) closing.catch(() => undefined);
  else await closing;
}

/** `host:port/database`. */
function nameOf(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return 'the database';
  }
}
