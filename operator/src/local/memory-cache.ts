import type { Cache } from '../controllers/policies/policy-index.ts';
import type { Change } from '../kube/informer.ts';
import { keyOf, type KubeObject } from '../kube/objects.ts';

/** A cache that is told what there is, in the place of one that follows an API server. */
export class MemoryCache<T extends KubeObject> implements Cache<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners: ((change: Change, object: T, before: T | undefined) => void)[] = [];

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** The one index there is: by namespace. */
  byIndex(_: string, namespace: string): T[] {
    return [...this.#objects.values()].filter(({ metadata }) => metadata.namespace === namespace);
  }

  onChange(listener: (change: Change, object: T, before: T | undefined) => void): void {
    this.#listeners.push(listener);
  }

  /** Makes the content exactly this; an object with the same spec stays the same one, of the same generation. */
  replace(wanted: Iterable<T & { readonly spec: unknown }>): void {
    const gone = new Set(this.#objects.keys());
    for (const object of wanted) {
      const key = keyOf(object);
      gone.delete(key);
      const before = this.#objects.get(key) as (T & { readonly spec: unknown }) | undefined;
      if (before !== undefined && JSON.stringify(before.spec) === JSON.stringify(object.spec)) continue;
      const generation = (before?.metadata.generation ?? 0) + 1;
      const now = { ...object, metadata: { ...object.metadata, generation } };
      this.#objects.set(key, now);
      this.#tell(before === undefined ? 'added' : 'modified', now, before);
    }
    for (const key of gone) {
      const before = this.#objects.get(key) as T;
      this.#objects.delete(key);
      this.#tell('deleted', before, before);
    }
  }

  /** Keeps a status, which is news to nobody. */
  setStatus(key: string, status: unknown): void {
    const object = this.#objects.get(key);
    if (object !== undefined) Object.assign(object, { status });
  }

  #tell(change: Change, object: T, before: T | undefined): void {
    for (const listener of this.#listeners) listener(change, object, before);
  }
}
