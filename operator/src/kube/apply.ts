import type { KubeClient } from './client.ts';
import { difference, hashOf, MERGED_LISTS, replacedLists, type MergedLists } from './compare.ts';
import { isKubeError } from './errors.ts';
import {
  apiVersionOf,
  controllerOf,
  describeObject,
  isLater,
  pathOf,
  type KubeObject,
  type OwnerReference,
  type ResourceType,
} from './objects.ts';

/** The label that every child carries, with the field manager as its value. */
export const MANAGED_BY = 'app.kubernetes.io/managed-by';

export interface ApplierOptions {
  readonly client: KubeClient;
  /** Owns what is applied to children; `<fieldManager>-status` owns the status of the owners. */
  readonly fieldManager: string;
  /** Where a child keeps the hash of what was applied last, such as `example.dev/applied`. */
  readonly hashAnnotation: string;
  /** In addition to those of the built-in kinds. */
  readonly mergedLists?: MergedLists;
}

export interface Applied<T> {
  /**
   * `unchanged` when nothing was written, and `terminating` when nothing was because the child is being deleted: its end is
   * an event, upon which it can be made again.
   */
  readonly outcome: 'created' | 'changed' | 'unchanged' | 'terminating';
  readonly object: T;
  /** For `changed`: the field that differed, or the hash annotation when something else is wanted than before. */
  readonly why?: string;
}

/** What the server made of what was applied last. */
interface Memory {
  readonly hash: string;
  readonly answer: KubeObject;
}

/** An object that is in the way of a child, and belongs to somebody else. */
export class ForeignObjectError extends Error {
  readonly type: ResourceType;
  readonly object: KubeObject;

  constructor(type: ResourceType, object: KubeObject, owner: OwnerReference) {
    const holder = controllerOf(object);
    const whose =
      holder === undefined
        ? 'and nobody controls it'
        : holder.kind === owner.kind && holder.name === owner.name
          ? `and belongs to an earlier ${holder.kind} "${holder.name}" (uid ${holder.uid})`
          : `and belongs to ${holder.kind} "${holder.name}"`;
    super(
      `${describeObject(type, object.metadata)} exists already ${whose}, so it is left alone: ` +
        `delete or rename it, or give ${owner.kind} "${owner.name}" another name`,
    );
    this.name = 'ForeignObjectError';
    this.type = type;
    this.object = object;
  }
}

/**
 * Makes children what they are wanted to be, by server-side apply, and writes nothing when nothing differs. A child is
 * applied when another document is wanted than the one whose hash it carries, or when what it has is not what was
 * applied. Remembers how the server rewrites documents, so that its defaults and roundings do not count as drift; after
 * a restart, such a child costs one apply that changes nothing.
 */
export class Applier {
  readonly #client: KubeClient;
  readonly #fieldManager: string;
  readonly #hashAnnotation: string;
  readonly #lists: MergedLists;
  /** By uid of the owner, then by path of the child. */
  readonly #children = new Map<string, Map<string, Memory>>();
  /** By uid. */
  readonly #statuses = new Map<string, Memory>();

  constructor({ client, fieldManager, hashAnnotation, mergedLists = {} }: ApplierOptions) {
    this.#client = client;
    this.#fieldManager = fieldManager;
    this.#hashAnnotation = hashAnnotation;
    this.#lists = { ...MERGED_LISTS, ...mergedLists };
  }

  /**
   * @param desired all that is wanted, with the owner reference of its controller (see ownerReference); the label and
   * the hash are put on it here.
   * @param cached the child as the informer has it; when it has none, the server is asked.
   * @throws ForeignObjectError when something is in the way that the owner does not control; KubeError.
   */
  async apply<T extends KubeObject>(
    type: ResourceType,
    desired: T,
    cached: T | undefined,
  ): Promise<Applied<T>> {
    const owner = controllerOf(desired);
    if (owner === undefined)
      throw new Error(`${describeObject(type, desired.metadata)} names no owner that controls it`);
    const { namespace, name } = desired.metadata;
    const path = pathOf(type, namespace, name);
    const document = this.#marked(type, desired);
    const hash = document.metadata.annotations?.[this.#hashAnnotation] ?? '';
    const memory = this.#children.get(owner.uid)?.get(path);

    const live = cached === undefined ? await this.#look<T>(type, desired) : latest(cached, memory);
    if (live !== undefined) {
      if (!this.#isOurs(live, owner)) throw new ForeignObjectError(type, live, owner);
      if (live.metadata.deletionTimestamp !== undefined) return { outcome: 'terminating', object: live };
    }
    const why = live === undefined ? undefined : this.#why(document, live, memory);
    if (live !== undefined && why === undefined) return { outcome: 'unchanged', object: live };

    let answer: T;
    try {
      answer = await this.#client.apply<T>(type, pinned(document, live), this.#fieldManager);
    } catch (error) {
      if (live === undefined) throw error;
      if (await this.#wasReplaced(type, live, error)) {
        this.#children.get(owner.uid)?.delete(path);
        return this.apply(type, desired, undefined);
      }
      if (!isKubeError(error, 'invalid') || why === undefined) throw error;
      answer = await this.#replaceLists(type, document, live, error);
    }
    delete answer.metadata.managedFields;
    this.#remember(owner.uid, path, { hash, answer });
    if (live === undefined) return { outcome: 'created', object: answer };
    const same = answer.metadata.resourceVersion === live.metadata.resourceVersion;
    return same
      ? { outcome: 'unchanged', object: answer }
      : { outcome: 'changed', object: answer, ...(why !== undefined && { why }) };
  }

  /**
   * Deletes those of `cached` that `owner` controls, that carry the label, and whose names are not in `wanted`.
   *
   * @returns those that were deleted.
   * @throws KubeError
   */
  async prune<T extends KubeObject>(
    type: ResourceType,
    owner: KubeObject,
    cached: Iterable<T>,
    wanted: ReadonlySet<string>,
  ): Promise<readonly T[]> {
    const { uid: owned, namespace: home } = owner.metadata;
    const deleted: T[] = [];
    for (const child of cached) {
      const { uid, namespace, name, labels, deletionTimestamp } = child.metadata;
      if (wanted.has(name) || deletionTimestamp !== undefined || uid === undefined) continue;
      if (home !== undefined && namespace !== home) continue;
      if (labels?.[MANAGED_BY] !== this.#fieldManager) continue;
      if (owned === undefined || controllerOf(child)?.uid !== owned) continue;
      this.#children.get(owned)?.delete(pathOf(type, namespace, name));
      try {
        await this.#client.delete(type, namespace, name, { uid, propagationPolicy: 'Background' });
        deleted.push(child);
      } catch (error) {
        // Gone, or gone and made again by somebody: either way it is not there any more.
        if (!isKubeError(error, 'notFound') && !isKubeError(error, 'conflict')) throw error;
      }
    }
    return deleted;
  }

  /**
   * The object with the status that was written last, where the cache has not heard of it yet. Conditions are to be
   * merged into this one: merged into an older status, their transition times would move.
   */
  withLatestStatus<T extends KubeObject>(cached: T): T {
    return latest(cached, this.#statuses.get(cached.metadata.uid ?? ''));
  }

  /**
   * Makes `status` the whole of what this manager says in the status of an object.
   *
   * @returns `gone` when there is no such object any more.
   * @throws KubeError
   */
  async applyStatus(
    type: ResourceType,
    cached: KubeObject,
    status: object,
  ): Promise<'changed' | 'unchanged' | 'gone'> {
    const { namespace, name, uid } = cached.metadata;
    if (uid === undefined) throw new Error(`${describeObject(type, cached.metadata)} has no uid yet`);
    const memory = this.#statuses.get(uid);
    const live = latest(cached, memory);
    const hash = hashOf(status);
    const has = hashOf(statusOf(live));
    if (has === hash) {
      // Kept as written, so there is nothing to remember once the cache has it.
      if (live === cached) this.#statuses.delete(uid);
      return 'unchanged';
    }
    if (memory?.hash === hash && has === hashOf(statusOf(memory.answer))) return 'unchanged';
    const document = {
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      metadata: { name, ...(namespace !== undefined && { namespace }), uid },
      status,
    };
    try {
      const answer = await this.#client.apply(type, document, `${this.#fieldManager}-status`, 'status');
      delete answer.metadata.managedFields;
      this.#statuses.set(uid, { hash, answer });
      return answer.metadata.resourceVersion === live.metadata.resourceVersion ? 'unchanged' : 'changed';
    } catch (error) {
      if (!(await this.#wasReplaced(type, live, error))) throw error;
      this.#statuses.delete(uid);
      return 'gone';
    }
  }

  /** The owner is gone: forget what is known of its children and its status. */
  forget(uid: string): void {
    this.#children.delete(uid);
    this.#statuses.delete(uid);
  }

  #marked<T extends KubeObject>(type: ResourceType, desired: T): T {
    const { labels, annotations, ...metadata } = desired.metadata;
    const labelled: T = {
      ...desired,
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      metadata: {
        ...metadata,
        labels: { ...labels, [MANAGED_BY]: this.#fieldManager },
        ...(annotations && { annotations }),
      },
    };
    const hash = { [this.#hashAnnotation]: hashOf(labelled) };
    return { ...labelled, metadata: { ...labelled.metadata, annotations: { ...annotations, ...hash } } };
  }

  /**
   * Server-side apply merges lists, and so keeps what somebody else has put there. Where both together are invalid, such as two ports of a
   * Service with one name, no apply succeeds until the other's items are gone: those that are not in the document are removed.
   *
   * @throws KubeError the one that is given, when there is nothing to remove; or that of another apply.
   */
  async #replaceLists<T extends KubeObject>(
    type: ResourceType,
    document: T,
    live: T,
    error: unknown,
  ): Promise<T> {
    const lists = replacedLists(document, live, this.#lists);
    if (lists === undefined) throw error;
    const { namespace, name, uid } = live.metadata;
    await this.#client.mergePatch(type, namespace, name, { ...lists, metadata: { uid } });
    return this.#client.apply<T>(type, pinned(document, live), this.#fieldManager);
  }

  /** Whether the error came of this: the object is gone, or another one has its name by now. */
  async #wasReplaced(type: ResourceType, object: KubeObject, error: unknown): Promise<boolean> {
    if (isKubeError(error, 'notFound')) return true;
    // Measured: a uid is a conflict where nothing has the name, and an immutable field where another object has it.
    if (!isKubeError(error, 'conflict') && !isKubeError(error, 'invalid')) return false;
    return (await this.#look(type, object))?.metadata.uid !== object.metadata.uid;
  }

  async #look<T extends KubeObject>(type: ResourceType, { metadata }: T): Promise<T | undefined> {
    try {
      return await this.#client.get<T>(type, metadata.namespace, metadata.name);
    } catch (error) {
      if (isKubeError(error, 'notFound')) return undefined;
      throw error;
    }
  }

  /** Whether the owner controls it, or it was made here once and its owner was deleted without its children. */
  #isOurs(live: KubeObject, owner: OwnerReference): boolean {
    const holder = controllerOf(live);
    if (holder !== undefined) return holder.uid === owner.uid;
    return live.metadata.annotations?.[this.#hashAnnotation] !== undefined;
  }

  #why(document: KubeObject, live: KubeObject, memory: Memory | undefined): string | undefined {
    const hash = document.metadata.annotations?.[this.#hashAnnotation];
    const known =
      memory?.hash === hash && memory?.answer.metadata.uid === live.metadata.uid ? memory : undefined;
    if (known !== undefined && known.answer.metadata.resourceVersion === live.metadata.resourceVersion)
      return undefined;
    const path = `metadata.annotations.${this.#hashAnnotation}`;
    if (live.metadata.annotations?.[this.#hashAnnotation] !== hash) return path;
    // Objects in a list carry neither apiVersion nor kind.
    const stated = { ...document, apiVersion: undefined, kind: undefined };
    return difference(stated, live, known && { value: known.answer }, this.#lists);
  }

  #remember(owner: string, path: string, memory: Memory): void {
    const children = this.#children.get(owner);
    if (children === undefined) this.#children.set(owner, new Map([[path, memory]]));
    else children.set(path, memory);
  }
}

/** What the cache has, or what was last written where that is later. */
function latest<T extends KubeObject>(cached: T, memory: Memory | undefined): T {
  const { uid, resourceVersion } = cached.metadata;
  if (memory === undefined || memory.answer.metadata.uid !== uid) return cached;
  return isLater(memory.answer.metadata.resourceVersion, resourceVersion) ? (memory.answer as T) : cached;
}

/** With the uid, the server refuses when it is another object by now. */
function pinned<T extends KubeObject>(document: T, live: T | undefined): T {
  const uid = live?.metadata.uid;
  return uid === undefined ? document : { ...document, metadata: { ...document.metadata, uid } };
}

function statusOf(object: KubeObject): unknown {
  return (object as { status?: unknown }).status ?? {};
}
