import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { removeFinalizer } from './finalizers.ts';
import { CONFIG_MAPS, type KubeObject } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

const OURS = 'test.example/rows';
const THEIRS = 'test.example/theirs';
const namespace = 'default';

describeWithApiServer()('removeFinalizer', () => {
  let server: ApiServer;
  let client: KubeClient;
  let object: ConfigMap;
  let name: string;
  let run = 0;

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    name = `object-${++run}`;
    object = await client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name, namespace } });
  });

  const get = () => client.get<ConfigMap>(CONFIG_MAPS, namespace, name);
  const edit = (body: object) => client.mergePatch<ConfigMap>(CONFIG_MAPS, namespace, name, body);
  const remove = () => client.delete(CONFIG_MAPS, namespace, name);
  const drop = (from = object) => removeFinalizer(client, CONFIG_MAPS, from, OURS);

  it('lets an object go, and writes nothing where there is nothing to remove', async () => {
    expect(await drop()).toEqual(object);
    expect((await get()).metadata.resourceVersion).toBe(object.metadata.resourceVersion);
    await edit({ metadata: { finalizers: [OURS] } });
    await remove();
    const held = await get();
    expect(held.metadata.deletionTimestamp).toBeDefined();
    await drop(held);
    await expect(get()).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('keeps an edit in between, and other finalizers', async () => {
    const stale = await edit({ metadata: { finalizers: [THEIRS, OURS] } });
    await edit({ data: { edited: '2' } });
    const dropped = await drop(stale);
    expect(dropped?.metadata.finalizers).toEqual([THEIRS]);
    expect(dropped?.data).toEqual({ edited: '2' });
    await edit({ metadata: { finalizers: null } });
  });

  it('leaves a successor of the same name alone', async () => {
    const stale = await edit({ metadata: { finalizers: [OURS] } });
    await edit({ metadata: { finalizers: null } });
    await remove();
    const successor = await client.create<ConfigMap>(CONFIG_MAPS, {
      metadata: { name, namespace, finalizers: [OURS] },
    });
    expect(await drop(stale)).toBeUndefined();
    expect(await get()).toEqual(successor);
    await edit({ metadata: { finalizers: null } });
  });

  it('has nothing to do where the object is gone', async () => {
    const stale = await edit({ metadata: { finalizers: [OURS] } });
    await edit({ metadata: { finalizers: null } });
    await remove();
    expect(await drop(stale)).toBeUndefined();
  });

  it('gives up when somebody writes all the time', async () => {
    const held = await edit({ metadata: { finalizers: [OURS] } });
    const busy = new Proxy(client, {
      get: (target, field) =>
        field === 'mergePatch'
          ? async (...args: Parameters<KubeClient['mergePatch']>) => {
              await edit({ data: { at: String(performance.now()) } });
              return target.mergePatch(...args);
            }
          : (Reflect.get(target, field) as (...args: unknown[]) => unknown).bind(target),
    });
    await expect(removeFinalizer(busy, CONFIG_MAPS, held, OURS)).rejects.toMatchObject({ kind: 'conflict' });
    expect((await get()).metadata.finalizers).toEqual([OURS]);
    await edit({ metadata: { finalizers: null } });
  });
});
