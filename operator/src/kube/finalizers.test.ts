import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { addFinalizer, removeFinalizer } from './finalizers.ts';
import { CONFIG_MAPS, type KubeObject } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

const OURS = 'test.example/rows';
const THEIRS = 'test.example/theirs';
const namespace = 'default';

describeWithApiServer()('finalizers', () => {
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
  const add = (to = object) => addFinalizer(client, CONFIG_MAPS, to, OURS);
  const drop = (from = object) => removeFinalizer(client, CONFIG_MAPS, from, OURS);

  it('are added once, hold the object, and let it go', async () => {
    const added = await add();
    expect(added?.metadata.finalizers).toEqual([OURS]);
    const again = await add(added);
    expect(again?.metadata.resourceVersion).toBe(added?.metadata.resourceVersion);
    await remove();
    const held = await get();
    expect(held.metadata.deletionTimestamp).toBeDefined();
    await drop(held);
    await expect(get()).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('keep an edit in between, and other finalizers', async () => {
    await edit({ metadata: { finalizers: [THEIRS] }, data: { edited: '1' } });
    const added = await add();
    expect(added?.metadata.finalizers).toEqual([THEIRS, OURS]);
    expect(added?.data).toEqual({ edited: '1' });
    await edit({ data: { edited: '2' } });
    const dropped = await drop(added);
    expect(dropped?.metadata.finalizers).toEqual([THEIRS]);
    expect(dropped?.data).toEqual({ edited: '2' });
    await edit({ metadata: { finalizers: null } });
  });

  it('are not added to what is being deleted', async () => {
    await edit({ metadata: { finalizers: [THEIRS] } });
    await remove();
    expect((await add())?.metadata.finalizers).toEqual([THEIRS]);
    await edit({ metadata: { finalizers: null } });
  });

  it('leave a successor of the same name alone', async () => {
    await add();
    const stale = await get();
    await remove();
    await drop(await get());
    const successor = await client.create<ConfigMap>(CONFIG_MAPS, {
      metadata: { name, namespace, finalizers: [OURS] },
    });
    expect(await drop(stale)).toBeUndefined();
    expect(await add(object)).toBeUndefined();
    expect(await get()).toEqual(successor);
  });

  it('have nothing to do where the object is gone', async () => {
    const added = await add();
    await edit({ metadata: { finalizers: null } });
    await remove();
    expect(await drop(added)).toBeUndefined();
    expect(await add()).toBeUndefined();
  });

  it('give up when somebody writes all the time', async () => {
    const busy = new Proxy(client, {
      get: (target, field) =>
        field === 'mergePatch'
          ? async (...args: Parameters<KubeClient['mergePatch']>) => {
              await edit({ data: { at: String(performance.now()) } });
              return target.mergePatch(...args);
            }
          : (Reflect.get(target, field) as (...args: unknown[]) => unknown).bind(target),
    });
    await expect(addFinalizer(busy, CONFIG_MAPS, object, OURS)).rejects.toMatchObject({ kind: 'conflict' });
    expect((await get()).metadata.finalizers).toBeUndefined();
  });
});
