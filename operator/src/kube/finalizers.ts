import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import type { KubeObject, ResourceType } from './objects.ts';

const ATTEMPTS = 5;

/**
 * Lets the object go, as far as this finalizer is concerned.
 *
 * @returns the object as it is now; undefined when it is gone.
 * @throws KubeError conflict when somebody writes it all the time.
 */
export async function removeFinalizer<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: T,
  finalizer: string,
): Promise<T | undefined> {
  return edit(client, type, object, ({ finalizers = [] }) =>
    finalizers.includes(finalizer) ? finalizers.filter((other) => other !== finalizer) : finalizers,
  );
}

/** @param change returns the very list that it was given when there is nothing to do. */
async function edit<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: T,
  change: (metadata: T['metadata']) => readonly string[],
): Promise<T | undefined> {
  const { namespace, name, uid } = object.metadata;
  let present = object;
  for (let attempt = 1; ; attempt++) {
    const { resourceVersion, finalizers = [] } = present.metadata;
    const wanted = change({ ...present.metadata, finalizers });
    if (wanted === finalizers) return present;
    try {
      // A merge patch replaces the whole list, so it must be known that nobody else has changed it.
      const metadata = { uid, resourceVersion, finalizers: wanted };
      return await client.mergePatch<T>(type, namespace, name, { metadata });
    } catch (error) {
      if (isKubeError(error, 'notFound')) return undefined;
      if (!isKubeError(error, 'conflict') || attempt === ATTEMPTS) throw error;
    }
    const now = await lookAgain(client, type, object);
    if (now === undefined) return undefined;
    present = now;
  }
}

/** The same object, as the server has it; undefined when it is gone, whoever has its name now. */
async function lookAgain<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  { metadata: { namespace, name, uid } }: T,
): Promise<T | undefined> {
  try {
    const found = await client.get<T>(type, namespace, name);
    return found.metadata.uid === uid ? found : undefined;
  } catch (error) {
    if (isKubeError(error, 'notFound')) return undefined;
    throw error;
  }
}
