import { isKubeError, reasonOrError } from './errors.ts';
import type { Change, Informer } from './informer.ts';
import { controllerOf, keyOf, type KubeObject, type ResourceType } from './objects.ts';
import { WorkQueue, type ReconcileResult } from './work-queue.ts';

/** The part of a pino logger that is needed here. */
export interface ControllerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** An informer, and which keys its changes concern. */
export interface Source {
  readonly type: ResourceType;
  /** Starts the informer where nobody has. @returns when its cache is complete. */
  readonly start: () => Promise<void>;
  /** Whether its cache has been complete once. */
  readonly synced: () => boolean;
  /** Hands every key to `add` that a change concerns. */
  readonly follow: (add: (key: string) => void) => void;
  /** The keys of all that is in the cache. */
  readonly keys: () => Iterable<string>;
}

/** What a source needs of an informer. */
export type Followed<T extends KubeObject> = Pick<
  Informer<T>,
  'type' | 'start' | 'synced' | 'onChange' | 'list'
>;

export interface SourceOptions<T> {
  /** Changes of an object that concern nobody are left out; those that add or delete it never are. */
  readonly when?: (object: T, before: T) => boolean;
}

/**
 * Secondary objects, mapped to the keys of the primary ones that they concern. Both what an object was before and what it is now
 * are mapped, so that whoever it concerned before hears of it too.
 */
export function source<T extends KubeObject>(
  informer: Followed<T>,
  keysOf: (object: T) => Iterable<string>,
  { when = () => true }: SourceOptions<T> = {},
): Source {
  return {
    type: informer.type,
    start: () => informer.start(),
    synced: () => informer.synced,
    follow: (add) =>
      informer.onChange((change: Change, object: T, before: T | undefined) => {
        if (change === 'modified' && before !== undefined && !when(object, before)) return;
        const keys = new Set(keysOf(object));
        if (before !== undefined) for (const key of keysOf(before)) keys.add(key);
        for (const key of keys) add(key);
      }),
    *keys() {
      for (const object of informer.list()) yield* keysOf(object);
    },
  };
}

/** Children, mapped to the key of the object of kind `owner` that controls them. */
export function children<T extends KubeObject>(
  informer: Followed<T>,
  owner: ResourceType,
  options?: SourceOptions<T>,
): Source {
  const keysOf = (object: T): string[] => {
    const holder = controllerOf(object);
    if (holder?.kind !== owner.kind || groupOf(holder.apiVersion) !== owner.group) return [];
    const { namespace } = object.metadata;
    return [
      keyOf({ metadata: { name: holder.name, ...(owner.namespaced && namespace ? { namespace } : {}) } }),
    ];
  };
  return source(informer, keysOf, options);
}

/** For the primary objects: whether more than the status has changed. */
export function changedBeyondStatus(object: KubeObject, before: KubeObject): boolean {
  const [a, b] = [object.metadata, before.metadata];
  return (
    a.uid !== b.uid ||
    a.generation !== b.generation ||
    a.deletionTimestamp !== b.deletionTimestamp ||
    [a.labels, a.annotations, a.finalizers].some(
      (value, i) => JSON.stringify(value) !== JSON.stringify([b.labels, b.annotations, b.finalizers][i]),
    )
  );
}

export interface ControllerOptions<T extends KubeObject> {
  readonly primary: Informer<T>;
  /** Which changes of a primary object are worth a reconcile. Default: all. */
  readonly when?: (object: T, before: T) => boolean;
  readonly secondary?: readonly Source[];
  /**
   * Makes the world what the object says, whatever has happened to it; also called, once or more, when there is no such object
   * (any more). Never called twice at a time for one key. The signal says that the time for it is over.
   */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult | void>;
  readonly log: ControllerLog;
  /** Keys that are worked on at the same time. Default 4. */
  readonly workers?: number;
  /** First and longest delay after failures in a row, in ms. Default 250 and 300 000. */
  readonly baseDelay?: number;
  readonly maxDelay?: number;
  /** For metrics: after each reconcile, how long it took, in ms. */
  readonly onReconciled?: (key: string, duration: number, error?: unknown) => void;
}

/**
 * Runs a reconcile function for the keys of one kind: whenever an object of that kind changes, or another one that concerns it;
 * never before all caches are complete; and again, later and later, for as long as it fails. Does not stop the informers, which
 * controllers may share.
 */
export class Controller<T extends KubeObject> {
  readonly #options: ControllerOptions<T>;
  readonly #sources: readonly Source[];
  readonly #queue: WorkQueue;
  readonly #abort = new AbortController();
  readonly #active = new Set<string>();
  #synced = false;
  #stopping: Promise<void> | undefined;

  constructor(options: ControllerOptions<T>) {
    const { primary, secondary = [], when, workers = 4, baseDelay = 250, maxDelay = 300_000 } = options;
    this.#options = options;
    this.#sources = [source(primary, (object) => [keyOf(object)], when && { when }), ...secondary];
    this.#queue = new WorkQueue((key) => this.#work(key), {
      concurrency: workers,
      baseDelay,
      maxDelay,
      onError: (key, error, failures, retryIn) => this.#failed(key, error, failures, retryIn),
    });
    for (const { follow } of this.#sources) follow((key) => this.enqueue(key));
  }

  /** Whether all caches have been complete, and reconciling has begun. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Keys that are ready, being worked on, or due later. */
  get size(): number {
    return this.#queue.size;
  }

  /** Something about this key may have changed that no informer tells. */
  enqueue(key: string): void {
    // Before, every key is going to be looked at anyhow.
    if (this.#synced) this.#queue.add(key);
  }

  /** @returns when all caches are complete and reconciling has begun, or when stopped before. */
  async start(): Promise<void> {
    const { primary, log } = this.#options;
    const started = performance.now();
    await Promise.all(this.#sources.map((each) => each.start()));
    if (this.#synced || this.#stopping !== undefined) return;
    // An informer that is stopped says that it has started, too.
    if (!this.#sources.every(({ synced }) => synced())) return;
    this.#synced = true;
    // Of secondary objects too: an owner that went while nobody looked has left children behind.
    for (const { keys } of this.#sources) for (const key of keys()) this.#queue.add(key);
    const fields = {
      kind: primary.type.kind,
      objects: primary.size,
      ms: Math.round(performance.now() - started),
    };
    log.info(fields, 'the caches are complete; reconciling begins');
  }

  /**
   * Takes nothing new up, and waits for the work under way; after `grace` ms that work is told to give up, and is no longer
   * waited for.
   */
  stop(grace = 10_000): Promise<void> {
    this.#stopping ??= this.#stop(grace);
    return this.#stopping;
  }

  async #stop(grace: number): Promise<void> {
    const ended = this.#queue.stop();
    let late: NodeJS.Timeout | undefined;
    const timeout = new Promise<true>((resolve) => (late = setTimeout(resolve, grace, true)));
    const overdue = await Promise.race([ended, timeout]);
    clearTimeout(late);
    this.#abort.abort(new Error('the controller stops'));
    if (overdue !== true) return;
    const { log, primary } = this.#options;
    const fields = { kind: primary.type.kind, keys: [...this.#active] };
    log.warn(fields, `reconciling was given up: it did not end within ${grace} ms`);
  }

  async #work(key: string): Promise<ReconcileResult | void> {
    const { reconcile, onReconciled } = this.#options;
    const started = performance.now();
    this.#active.add(key);
    try {
      const result = await reconcile(key, this.#abort.signal);
      onReconciled?.(key, performance.now() - started);
      return result;
    } catch (error) {
      onReconciled?.(key, performance.now() - started, error);
      throw error;
    } finally {
      this.#active.delete(key);
    }
  }

  #failed(key: string, error: unknown, failures: number, retryIn: number): void {
    if (this.#abort.signal.aborted) return;
    const { log, primary } = this.#options;
    const { kind } = primary.type;
    const what = error instanceof Error ? error.message : String(error);
    const fields = { kind, key, failures, retry_in_ms: retryIn, ...reasonOrError(error) };
    const next = `; it is tried again in ${describeDelay(retryIn)}`;
    // Somebody wrote in between, or the cache was behind: it happens, and the next try sees it.
    if (isKubeError(error, 'conflict') && failures < 3) {
      log.info(fields, `${kind} ${key} changed while it was reconciled: ${what}${next}`);
    } else if (isKubeError(error, 'unavailable')) {
      const state = error.status === 0 ? 'does not answer' : 'cannot serve';
      log.warn(fields, `${kind} ${key} waits while the API server ${state}: ${what}${next}`);
    } else {
      log.error(fields, `${kind} ${key} cannot be reconciled: ${what}${next}`);
    }
  }
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

function describeDelay(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`;
}
