import type { PrincipalSighting } from '@claude-gateway/prisma';
import type { Log } from '../observe/log.ts';
import type { Principal } from '../principal.ts';

/** How often somebody who goes on working is written again. */
const REPEAT_MS = 600_000;
/** How long a sighting waits for company. */
const FLUSH_MS = 2_000;
const BATCH = 500;
/** While PostgreSQL is away; whoever comes on top is seen again later. */
const MOST_WAITING = 20_000;

type Seen = Pick<Principal, 'sub' | 'kind' | 'email' | 'name' | 'groups'>;

export interface PrincipalLogDependencies {
  readonly usage: { touch(sightings: readonly PrincipalSighting[]): Promise<void> };
  readonly clock: () => Date;
  readonly log: Log;
}

/**
 * Remembers in the store who was seen, so that reports have names and caps by email find people: once when somebody is
 * new here or their claims changed, then every ten minutes. In batches, beside the requests; it never throws, and nobody
 * waits for it.
 */
export class PrincipalLog {
  readonly #deps: PrincipalLogDependencies;
  readonly #flushMs: number;
  /** By subject: what was written or is about to be. */
  readonly #known = new Map<string, { principal: Seen; at: number }>();
  readonly #waiting = new Map<string, PrincipalSighting>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #closed = false;
  #prunedAt = 0;

  constructor(deps: PrincipalLogDependencies, { flushMs = FLUSH_MS }: { flushMs?: number } = {}) {
    this.#deps = deps;
    this.#flushMs = flushMs;
  }

  /** Cheap enough for every request: mostly one look into a map. */
  seen(principal: Seen): void {
    const at = this.#deps.clock().getTime();
    const known = this.#known.get(principal.sub);
    if (known !== undefined && at - known.at < REPEAT_MS && isSame(known.principal, principal)) return;
    if (this.#closed || this.#waiting.size >= MOST_WAITING) return;
    this.#known.set(principal.sub, { principal, at });
    this.#waiting.set(principal.sub, {
      sub: principal.sub,
      kind: principal.kind,
      email: principal.email ?? null,
      name: principal.name ?? null,
      groups: principal.groups,
      seenAt: new Date(at),
    });
    this.#timer ??= setTimeout(() => void this.#flush(), this.#flushMs).unref();
  }

  /** Writes what is waiting now. */
  flush(): Promise<void> {
    return this.#waiting.size === 0 ? this.#flushing : this.#flush();
  }

  /** Writes what is waiting, once. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flush();
    clearTimeout(this.#timer);
  }

  #flush(): Promise<void> {
    return (this.#flushing = this.#flushing.then(() => this.#write()));
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()].slice(0, BATCH);
      for (const { sub } of batch) this.#waiting.delete(sub);
      try {
        await this.#deps.usage.touch(batch);
      } catch (error) {
        this.#deps.log.warn({ reason: (error as Error).message }, 'cannot remember who was seen');
        // Their next requests bring them back: nothing is kept for a store that is away.
        for (const { sub } of batch) this.#known.delete(sub);
        break;
      }
    }
    this.#prune();
  }

  /** Forgets who has not been here for a while; they would be written anyway. */
  #prune(): void {
    const now = this.#deps.clock().getTime();
    if (now - this.#prunedAt < REPEAT_MS) return;
    this.#prunedAt = now;
    for (const [sub, { at }] of this.#known) if (now - at >= REPEAT_MS) this.#known.delete(sub);
  }
}

function isSame(a: Seen, b: Seen): boolean {
  return (
    a === b ||
    (a.email === b.email && a.name === b.name && a.kind === b.kind && isSameList(a.groups, b.groups))
  );
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}
