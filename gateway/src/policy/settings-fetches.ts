import type { Log } from '../observe/log.ts';
import type { Principal } from '../principal.ts';
import { RecentMap } from '../recent-map.ts';
import type { PolicyOrigin } from './source.ts';

/** What one client fetched last. */
export interface SettingsFetch {
  /** Names the client; see {@link SettingsFetchLog.fetched}. */
  readonly client: string;
  /** Subject of whoever it is signed in as. */
  readonly principal: string;
  /** The policies of resources in its settings, at most one for each owner. */
  readonly documents: readonly { readonly ownerUid: string; readonly documentHash: string }[];
  readonly at: Date;
}

export interface SettingsFetchLogDeps {
  readonly store: { record(entries: readonly SettingsFetch[]): Promise<void> };
  readonly clock: () => Date;
  readonly log: Log;
}

/** How often a client that goes on asking is written again, in ms. */
const REPEAT_MS = 900_000;
/** How long a fetch waits for company, in ms. */
const FLUSH_MS = 3_000;
const BATCH = 500;
/** While PostgreSQL is away; whoever comes on top is noted when they ask again. */
const MOST_WAITING = 20_000;
const MOST_KNOWN = 100_000;

/**
 * Remembers in the store which client has which managed policies, so that the status of a resource can tell: when a
 * client asks for the first time or gets something else, then every quarter of an hour. In batches, beside the
 * requests; it never throws, and nobody waits for it.
 */
export class SettingsFetchLog {
  readonly #deps: SettingsFetchLogDeps;
  readonly #flushMs: number;
  /** By client: what was written or is about to be. */
  readonly #known = new RecentMap<string, { readonly documents: string; readonly at: number }>(MOST_KNOWN);
  readonly #waiting = new Map<string, SettingsFetch>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #closed = false;
  #away = false;

  constructor(deps: SettingsFetchLogDeps, { flushMs = FLUSH_MS }: { flushMs?: number } = {}) {
    this.#deps = deps;
    this.#flushMs = flushMs;
  }

  /**
   * A person's client is its session, which every refresh of its token keeps: one device, until it signs in again. A
   * workload gets a session with every token, so it is one client under its subject.
   *
   * @param origins Of its settings, the most specific first; none when it got nothing of a resource.
   */
  fetched({ sub, sid, kind }: Principal, origins: readonly PolicyOrigin[]): void {
    if (this.#closed) return;
    const at = this.#deps.clock();
    const client = kind === 'workload' ? `workload:${sub}` : sid;
    const byOwner = new Map<string, string>();
    for (const { ownerUid, documentHash } of origins) {
      if (!byOwner.has(ownerUid)) byOwner.set(ownerUid, documentHash);
    }
    const documents = [...byOwner].join(' ');
    const known = this.#known.get(client);
    if (known?.documents === documents && at.getTime() - known.at < REPEAT_MS) return;
    if (this.#waiting.size >= MOST_WAITING && !this.#waiting.has(client)) return;
    this.#known.set(client, { documents, at: at.getTime() });
    this.#waiting.set(client, {
      client,
      principal: sub,
      documents: [...byOwner].map(([ownerUid, documentHash]) => ({ ownerUid, documentHash })),
      at,
    });
    this.#schedule();
  }

  /** Writes what is waiting, once. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flush();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (!this.#closed) this.#timer ??= setTimeout(() => void this.#flush(), this.#flushMs).unref();
  }

  #flush(): Promise<void> {
    return (this.#flushing = this.#flushing.then(() => this.#write()));
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()].slice(0, BATCH);
      for (const { client } of batch) this.#waiting.delete(client);
      try {
        await this.#deps.store.record(batch);
        this.#away = false;
      } catch (error) {
        if (!this.#away) {
          this.#deps.log.warn({ reason: (error as Error).message }, 'cannot note who has which settings');
        }
        this.#away = true;
        // Clients ask once an hour, so these wait; what came meanwhile is newer.
        for (const fetch of batch) {
          if (!this.#waiting.has(fetch.client)) this.#waiting.set(fetch.client, fetch);
        }
        this.#schedule();
        return;
      }
    }
  }
}
