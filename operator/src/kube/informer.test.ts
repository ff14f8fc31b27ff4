import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { Informer, type InformerOptions } from './informer.ts';
import { CONFIG_MAPS, keyOf, type KubeObject } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';
import { SilentProxy } from './testing/proxy.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

describeWithApiServer()('Informer', () => {
  let server: ApiServer;
  let client: KubeClient;
  let informer: Informer<ConfigMap>;
  let run = 0;
  const told: string[] = [];

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  beforeEach(() => {
    run++;
    told.length = 0;
  });
  afterEach(async () => {
    await informer.stop();
  });

  const put = (name: string, value = '1') =>
    client.apply<ConfigMap>(
      CONFIG_MAPS,
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, namespace: 'default', labels: { run: `r${run}` } },
        data: { value },
      } as KubeObject,
      'test',
    );
  const drop = (name: string) => client.delete(CONFIG_MAPS, 'default', name);

  async function follow(options: Partial<InformerOptions<ConfigMap>> = {}): Promise<void> {
    informer = new Informer<ConfigMap>({
      client,
      type: CONFIG_MAPS,
      labelSelector: `run=r${run}`,
      baseDelay: 20,
      maxDelay: 200,
      ...options,
    });
    informer.onChange((change, object) => told.push(`${change} ${keyOf(object)}`));
    await informer.start();
  }

  it('lists in pages, then follows, and keeps indexes', async () => {
    for (const name of ['a', 'b', 'c']) await put(name);
    await follow({ pageSize: 2, indexes: { value: ({ data }) => Object.values(data ?? {}) } });
    expect(informer.synced).toBe(true);
    expect(informer.size).toBe(3);
    expect(informer.get('default/a')?.metadata.managedFields).toBeUndefined();
    expect(informer.byIndex('value', '1')).toHaveLength(3);
    told.length = 0;
    await put('a', '2');
    await put('d');
    await drop('b');
    await eventually(() =>
      expect(told).toEqual(['modified default/a', 'added default/d', 'deleted default/b']),
    );
    expect(informer.byIndex('value', '2').map(keyOf)).toEqual(['default/a']);
    expect(informer.byIndex('value', '1').map(keyOf).sort()).toEqual(['default/c', 'default/d']);
    expect(informer.stats.lists).toBe(1);
  });

  it('resumes without a new list when the server ends the watch', async () => {
    await follow({ watchLimit: 1000, random: () => 0.5 });
    await eventually(() => informer.stats.watches >= 3);
    await put('after');
    await eventually(() => expect(told).toEqual(['added default/after']));
    expect(informer.stats.lists).toBe(1);
  });

  it('notices a connection that says nothing, and misses nothing', async () => {
    const proxy = await SilentProxy.start(server.port);
    const through = new KubeClient(configOf(server, { via: proxy.port }), { userAgent: 'test' });
    try {
      await follow({ client: through, silence: 1500 });
      await put('before');
      await eventually(() => told.length === 1);
      proxy.silence();
      await put('meanwhile');
      await drop('before');
      await eventually(() =>
        expect(told).toEqual(['added default/before', 'added default/meanwhile', 'deleted default/before']),
      );
      expect(informer.stats.lists).toBe(1);
    } finally {
      await informer.stop();
      through.close();
      await proxy.stop();
    }
  });

  it('takes a kind of which there is nothing to say for no failure', async () => {
    const errors: unknown[] = [];
    await follow({ silence: 1500, onError: (error) => errors.push(error) });
    await eventually(() => informer.stats.watches >= 3);
    await put('at-last');
    await eventually(() => expect(told).toEqual(['added default/at-last']));
    expect(errors).toEqual([]);
    expect(informer.stats).toMatchObject({ lists: 1, failures: 0 });
  });

  it('survives the API server, and misses no deletion', async () => {
    await put('stays');
    await put('goes');
    await follow();
    await server.killServer();
    await eventually(() => informer.stats.failures > 2);
    expect(informer.size).toBe(2);
    await server.startServer();
    await drop('goes');
    await put('new');
    await eventually(() => {
      expect([...informer.list()].map(keyOf).sort()).toEqual(['default/new', 'default/stays']);
    });
    expect(told.filter((line) => line.startsWith('deleted'))).toEqual(['deleted default/goes']);
  }, 90_000);

  it('catches up with a server that has forgotten, by a new list where what it knew has expired (410)', async () => {
    await put('stays');
    await put('goes');
    const errors: unknown[] = [];
    await follow({ onError: (error) => errors.push(error) });
    await drop('goes');
    await server.killServer();
    await server.startServer();
    await eventually(() => expect([...informer.list()].map(keyOf)).toEqual(['default/stays']));
    // Whether a new server can go on from there depends on how far its own cache is by then.
    const expired = (): boolean => errors.some((error) => isKubeError(error, 'gone'));
    await eventually(() => informer.stats.lists === (expired() ? 2 : 1));
    await put('new');
    await eventually(() => expect(told.at(-1)).toBe('added default/new'));
  }, 90_000);
});
