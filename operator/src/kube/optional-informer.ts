import { setTimeout as sleep } from 'node:timers/promises';
import { isKubeError } from './errors.ts';
import { Informer, type Change, type InformerOptions } from './informer.ts';
import type { KubeObject, ResourceType } from './objects.ts';

export interface OptionalInformerOptions<T extends KubeObject> extends InformerOptions<T> {
  /** How often it is looked whether the API server has the kind, in ms. Default 60 000. */
  readonly recheck?: number;
  /** The API server has the kind now, or has it no more. */
  readonly onPresence?: (present: boolean) => void;
}

/**
 * An informer of a kind that the API server may not have, such as one of another project's definitions. Without it the cache
 * is empty, and complete; it fills when somebody installs the definition.
 */
export class OptionalInformer<T extends KubeObject> {
  readonly #options: OptionalInformerOptions<T>;
  readonly #abort = new AbortController();
  readonly #listeners: ((change: Change, object: T, before: T | undefined) => void)[] = [];
  readonly #firstLook = Promise.withResolvers<void>();
  #informer: Informer<T> | undefined;
  #looked = false;
  #running: Promise<void> | undefined;

  constructor(options: OptionalInformerOptions<T>) {
    this.#options = options;
  }

  get type(): ResourceType {
    return this.#options.type;
  }

  /** Whether the API server has the kind, and the cache is complete. */
  get present(): boolean {
    return this.#informer?.synced ?? false;
  }

  /** Whether it is known what there is. */
  get synced(): boolean {
    return this.#looked && (this.#informer === undefined || this.#informer.synced);
  }

  get(key: string): T | undefined {
    return this.#informer?.get(key);
  }

  *list(): IterableIterator<T> {
    if (this.#informer !== undefined) yield* this.#informer.list();
  }

  onChange(listener: (change: Change, object: T, before: T | undefined) => void): void {
    this.#listeners.push(listener);
  }

  /** @returns when it is known whether there is such a kind, and all objects of it are; or when stopped before. */
  async start(): Promise<void> {
    this.#running ??= this.#run();
    await this.#firstLook.promise;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#firstLook.resolve();
    await this.#running;
    await this.#informer?.stop();
  }

  async #run(): Promise<void> {
    const { recheck = 60_000, baseDelay = 500, onError, onPresence } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      let pause = recheck;
      try {
        const there = await this.#isThere();
        if (there !== (this.#informer !== undefined)) {
          if (there) await this.#follow();
          else await this.#forget();
          if (this.#looked) onPresence?.(there);
        }
        this.#looked = true;
        this.#firstLook.resolve();
      } catch (error) {
        if (signal.aborted) return;
        if (!this.#looked) pause = baseDelay;
        onError?.(error, pause);
      }
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  async #isThere(): Promise<boolean> {
    const { client, type, namespace, recheck = 60_000, onError } = this.#options;
    try {
      await client.list(type, { namespace, limit: 1, signal: this.#abort.signal });
      return true;
    } catch (error) {
      if (isKubeError(error, 'notFound')) return false;
      if (!isKubeError(error, 'forbidden')) throw error;
      // What may not be seen is done without, rather than keeping everything else from starting.
      onError?.(error, recheck);
      return false;
    }
  }

  async #follow(): Promise<void> {
    const informer = new Informer<T>(this.#options);
    informer.onChange((change, object, before) => {
      for (const listener of this.#listeners) listener(change, object, before);
    });
    this.#informer = informer;
    await informer.start();
  }

  async #forget(): Promise<void> {
    await this.#informer?.stop();
    this.#informer = undefined;
  }
}
