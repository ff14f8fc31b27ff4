import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient, WatchEvent } from './client.ts';
import { isKubeError, KubeError } from './errors.ts';
import { keyOf, type KubeObject, type ResourceType } from './objects.ts';

export type Change = 'added' | 'modified' | 'deleted';

export interface InformerOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType;
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string;
  /** Named functions that give the index values of an object. */
  readonly indexes?: Readonly<Record<string, (object: T) => readonly string[]>>;
  /** What is kept of an object; after managedFields were dropped. */
  readonly transform?: (object: T) => T;
  /** The server ends each watch after this long, give or take a half, in ms. Default 300 000. */
  readonly watchLimit?: number;
  /** Silence after which a watch is begun anew (bookmarks come about once a minute, but not for sure), in ms. Default 120 000. */
  readonly silence?: number;
  /** First and longest delay after failures in a row, in ms. Default 500 and 30 000. */
  readonly baseDelay?: number;
  readonly maxDelay?: number;
  /** Objects per page of a list. Default 500. */
  readonly pageSize?: number;
  readonly onError?: (error: unknown, retryIn: number) => void;
  readonly random?: () => number;
}

export interface InformerStats {
  /** Complete lists, the first included. */
  lists: number;
  /** Watches that were started. */
  watches: number;
  /** Lists and watches that failed. */
  failures: number;
}

type Listener<T> = (change: Change, object: T, before: T | undefined) => void;

/**
 * A cache of one kind that follows the API server: list, then watch from there, resuming by resourceVersion. It ends
 * only when told to: an API server that is away, a watch that expired (410) or a connection that says nothing are
 * answered with a new watch or a new list, from which deletions that were missed are told too. Objects in the cache
 * are shared: never change them.
 */
export class Informer<T extends KubeObject> {
  readonly stats: InformerStats = { lists: 0, watches: 0, failures: 0 };
  readonly #options: InformerOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, Map<string, Set<string>>>();
  readonly #listeners: Listener<T>[] = [];
  readonly #abort = new AbortController();
  readonly #random: () => number;
  readonly #firstList = Promise.withResolvers<void>();
  #resourceVersion: string | undefined;
  #synced = false;
  #running: Promise<void> | undefined;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    for (const name of Object.keys(options.indexes ?? {})) this.#indexes.set(name, new Map());
  }

  get type(): ResourceType {
    return this.#options.type;
  }

  /** Whether the cache has been complete once. */
  get synced(): boolean {
    return this.#synced;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** By `namespace/name`, or `name` where there is no namespace. */
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** @throws Error when there is no such index. */
  byIndex(index: string, value: string): T[] {
    const values = this.#indexes.get(index);
    if (values === undefined) throw new Error(`the informer of ${this.type.plural} has no index "${index}"`);
    return [...(values.get(value) ?? [])].map((key) => this.#objects.get(key) as T);
  }

  /** Told of every change after the cache has it. */
  onChange(listener: Listener<T>): void {
    this.#listeners.push(listener);
  }

  /** Starts. @returns when the cache is complete for the first time, or when stopped before. */
  async start(): Promise<void> {
    this.#running ??= this.#run();
    await this.#firstList.promise;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#firstList.resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#abort.signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) {
          await this.#relist();
          failures = 0;
        }
        await this.#watch(() => (failures = 0));
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        this.stats.failures++;
        if (!isKubeError(error) || error.kind === 'gone') this.#resourceVersion = undefined;
        await this.#pause(error, failures++);
      }
    }
  }

  async #pause(error: unknown, failures: number): Promise<void> {
    const { baseDelay = 500, maxDelay = 30_000, onError } = this.#options;
    const full = Math.min(maxDelay, baseDelay * 2 ** Math.min(failures, 30));
    const asked = isKubeError(error) ? (error.retryAfter ?? 0) * 1000 : 0;
    const delay = Math.max(asked, Math.round(full * (0.5 + this.#random() * 0.5)));
    onError?.(error, delay);
    await sleep(delay, undefined, { signal: this.#abort.signal }).catch(() => undefined);
  }

  async #relist(): Promise<void> {
    const { client, type, namespace, labelSelector, pageSize = 500 } = this.#options;
    const seen = new Set<string>();
    let page: string | undefined;
    let resourceVersion: string;
    do {
      const list = await client.list<T>(type, {
        namespace,
        labelSelector,
        limit: pageSize,
        continue: page,
        signal: this.#abort.signal,
      });
      for (const object of list.items) {
        seen.add(keyOf(object));
        this.#set(object);
      }
      page = list.metadata.continue;
      resourceVersion = list.metadata.resourceVersion;
    } while (page);
    for (const key of [...this.#objects.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#resourceVersion = resourceVersion;
    this.stats.lists++;
    this.#synced = true;
    this.#firstList.resolve();
  }

  async #watch(onProgress: () => void): Promise<void> {
    const { client, type, namespace, labelSelector, watchLimit = 300_000, silence = 120_000 } = this.#options;
    this.stats.watches++;
    const started = performance.now();
    let heard = false;
    await client.watch<T>(
      type,
      {
        namespace,
        labelSelector,
        resourceVersion: this.#resourceVersion ?? '',
        // Spread, so that informers that started together do not come back together.
        timeoutSeconds: Math.ceil((watchLimit / 1000) * (0.5 + this.#random())),
        silence,
        signal: this.#abort.signal,
      },
      (event) => {
        if (this.#abort.signal.aborted) return;
        this.#apply(event);
        heard = true;
        onProgress();
      },
    );
    // A watch that ends at once and empty would be started again in a tight loop.
    if (!heard && performance.now() - started < 1000)
      throw new KubeError({ verb: 'watch', type, namespace }, 0, 'the watch ended as soon as it began');
  }

  #apply({ type, object }: WatchEvent<T>): void {
    if (type === 'ERROR') {
      const {
        code = 500,
        message = 'the watch failed',
        reason,
      } = object as { code?: number; message?: string; reason?: string };
      const call = { verb: 'watch', type: this.type, namespace: this.#options.namespace };
      throw new KubeError(call, code, message, reason);
    }
    if (type === 'DELETED') this.#remove(keyOf(object), object);
    else if (type !== 'BOOKMARK') this.#set(object);
    this.#resourceVersion = object.metadata.resourceVersion;
  }

  #set(raw: T): void {
    delete raw.metadata.managedFields;
    const object = this.#options.transform?.(raw) ?? raw;
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (before !== undefined && before.metadata.resourceVersion === object.metadata.resourceVersion) return;
    if (before !== undefined) this.#unindex(key, before);
    this.#objects.set(key, object);
    this.#index(key, object);
    this.#tell(before === undefined ? 'added' : 'modified', object, before);
  }

  #remove(key: string, last?: T): void {
    const before = this.#objects.get(key);
    if (before === undefined) return;
    this.#unindex(key, before);
    this.#objects.delete(key);
    this.#tell('deleted', last ?? before, before);
  }

  #tell(change: Change, object: T, before: T | undefined): void {
    for (const listener of this.#listeners) {
      try {
        listener(change, object, before);
      } catch (error) {
        // A listener's bug must not end the watch for all others.
        this.#options.onError?.(error, 0);
      }
    }
  }

  #index(key: string, object: T): void {
    for (const [name, values] of this.#indexes) {
      for (const value of this.#options.indexes?.[name]?.(object) ?? []) {
        const keys = values.get(value);
        if (keys === undefined) values.set(value, new Set([key]));
        else keys.add(key);
      }
    }
  }

  #unindex(key: string, object: T): void {
    for (const [name, values] of this.#indexes) {
      for (const value of this.#options.indexes?.[name]?.(object) ?? []) {
        const keys = values.get(value);
        if (keys?.delete(key) && keys.size === 0) values.delete(value);
      }
    }
  }
}
