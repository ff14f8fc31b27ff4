import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { Applier, ForeignObjectError, MANAGED_BY } from './apply.ts';
import { KubeClient } from './client.ts';
import { Informer } from './informer.ts';
import { CONFIG_MAPS, ownerReference, type KubeObject, type ResourceType } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}
interface Deployment extends KubeObject {
  spec: {
    replicas?: number;
    selector: object;
    template: {
      metadata: object;
      spec: { hostNetwork?: boolean; tolerations?: object[]; containers: object[] };
    };
  };
  status?: object;
}
type Metadata = { metadata: Partial<KubeObject['metadata']> };

const DEPLOYMENTS: ResourceType = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
  namespaced: true,
};
const HASH = 'test.example/applied';
const namespace = 'default';

describeWithApiServer()('Applier', () => {
  let server: ApiServer;
  let client: KubeClient;
  let applier: Applier;
  let owner: ConfigMap;
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
    run++;
    applier = restarted();
    owner = await client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name: `owner-${run}`, namespace } });
  });

  const restarted = () => new Applier({ client, fieldManager: 'test-operator', hashAnnotation: HASH });
  const own = (by: KubeObject = owner) => [ownerReference(CONFIG_MAPS, by)];
  const child = (name: string, data: Record<string, string> = { a: '1' }): ConfigMap => ({
    metadata: { name: `${name}-${run}`, namespace, labels: { app: 'x' }, ownerReferences: own() },
    data,
  });
  const config = (name: string) => client.get<ConfigMap>(CONFIG_MAPS, namespace, `${name}-${run}`);
  const edit = <T extends KubeObject>(type: ResourceType, name: string, body: object) =>
    client.mergePatch<T>(type, namespace, `${name}-${run}`, body);

  const deployment = (): Deployment => ({
    metadata: { name: `main-${run}`, namespace, ownerReferences: own() },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'x' } },
      template: {
        metadata: { labels: { app: 'x' } },
        spec: {
          // The server leaves out what is false, adds a default to the toleration, and writes amounts in its own way.
          hostNetwork: false,
          tolerations: [{ key: 'a', operator: 'Exists' }],
          containers: [
            {
              name: 'main',
              image: 'main:1',
              ports: [{ containerPort: 8080 }],
              resources: { limits: { cpu: '1000m', memory: '1024Mi' } },
            },
          ],
        },
      },
    },
  });

  describe('children', () => {
    it('are made, marked, and left alone when nothing differs', async () => {
      const made = await applier.apply(CONFIG_MAPS, child('a'), undefined);
      expect(made.outcome).toBe('created');
      const live = await config('a');
      expect(live.metadata.labels).toEqual({ app: 'x', [MANAGED_BY]: 'test-operator' });
      expect(live.metadata.annotations?.[HASH]).toMatch(/^[0-9a-f]{32}$/);
      expect(live.metadata.ownerReferences?.[0]?.uid).toBe(owner.metadata.uid);

      for (const each of [applier, restarted()]) {
        for (const cached of [live, undefined]) {
          const again = await each.apply(CONFIG_MAPS, child('a'), cached);
          expect(again.outcome).toBe('unchanged');
        }
      }
      expect((await config('a')).metadata.resourceVersion).toBe(live.metadata.resourceVersion);
    });

    it('ask the server for nothing when nothing differs', async () => {
      await applier.apply(DEPLOYMENTS, deployment(), undefined);
      const live = await client.get<Deployment>(DEPLOYMENTS, namespace, `main-${run}`);
      // Somebody else writes a part of it that nobody here speaks of.
      const later = await edit<Deployment>(DEPLOYMENTS, 'main', { metadata: { labels: { theirs: '1' } } });
      const calls = await countCalls(client, async () => {
        expect((await applier.apply(DEPLOYMENTS, deployment(), live)).outcome).toBe('unchanged');
        expect((await applier.apply(DEPLOYMENTS, deployment(), later)).outcome).toBe('unchanged');
      });
      expect(calls).toBe(0);
    });

    it('cost one apply without effect after a restart where the server rewrites them, and no more', async () => {
      await applier.apply(DEPLOYMENTS, deployment(), undefined);
      const live = await client.get<Deployment>(DEPLOYMENTS, namespace, `main-${run}`);
      const after = restarted();
      const first = await after.apply(DEPLOYMENTS, deployment(), live);
      expect(first.outcome).toBe('unchanged');
      expect(first.object.metadata.resourceVersion).toBe(live.metadata.resourceVersion);
      const calls = await countCalls(client, () => after.apply(DEPLOYMENTS, deployment(), live));
      expect(calls).toBe(0);
    });

    it.each<[string, object, string]>([
      ['a value', { spec: { replicas: 5 } }, 'spec.replicas'],
      [
        'what the server left out',
        { spec: { template: { spec: { hostNetwork: true } } } },
        'spec.template.spec.hostNetwork',
      ],
      [
        'an item of a list that is ours as a whole',
        {
          spec: {
            template: { spec: { tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoSchedule' }] } },
          },
        },
        'spec.template.spec.tolerations',
      ],
      ['the label', { metadata: { labels: { [MANAGED_BY]: 'me' } } }, `metadata.labels.${MANAGED_BY}`],
      ['the hash', { metadata: { annotations: { [HASH]: null } } }, `metadata.annotations.${HASH}`],
    ])('get %s back that was changed by hand', async (_, change, why) => {
      const before = await applier.apply(DEPLOYMENTS, deployment(), undefined);
      const drifted = await edit<Deployment>(DEPLOYMENTS, 'main', change);
      const back = await applier.apply(DEPLOYMENTS, deployment(), drifted);
      expect({ outcome: back.outcome, why: back.why }).toEqual({ outcome: 'changed', why });
      expect(back.object.spec).toEqual(before.object.spec);
      expect(back.object.metadata.labels).toEqual(before.object.metadata.labels);
      expect((await applier.apply(DEPLOYMENTS, deployment(), back.object)).outcome).toBe('unchanged');
    });

    it('lose what is wanted no more, and keep what others added', async () => {
      await applier.apply(CONFIG_MAPS, child('a', { a: '1', b: '2' }), undefined);
      const theirs = await edit<ConfigMap>(CONFIG_MAPS, 'a', { data: { theirs: 'x' } });
      const { outcome, object } = await restarted().apply(CONFIG_MAPS, child('a', { a: '1' }), theirs);
      expect(outcome).toBe('changed');
      expect(object.data).toEqual({ a: '1', theirs: 'x' });
    });

    it('are not written again because the cache is behind', async () => {
      const { object: old } = await applier.apply(CONFIG_MAPS, child('a'), undefined);
      await applier.apply(CONFIG_MAPS, child('a', { a: '2' }), old);
      const calls = await countCalls(client, async () => {
        expect((await applier.apply(CONFIG_MAPS, child('a', { a: '2' }), old)).outcome).toBe('unchanged');
      });
      expect(calls).toBe(0);
    });

    it('are made again when somebody deleted them', async () => {
      const { object } = await applier.apply(CONFIG_MAPS, child('a'), undefined);
      await client.delete(CONFIG_MAPS, namespace, object.metadata.name);
      // The cache has not heard of it yet: nothing is known to differ, and the event is on its way.
      expect((await applier.apply(CONFIG_MAPS, child('a', { a: '1' }), object)).outcome).toBe('unchanged');
      expect((await applier.apply(CONFIG_MAPS, child('a'), undefined)).outcome).toBe('created');
      // And also where there is something new to say to the one that is gone.
      await client.delete(CONFIG_MAPS, namespace, object.metadata.name);
      const anew = await applier.apply(CONFIG_MAPS, child('a', { a: '2' }), object);
      expect(anew.outcome).toBe('created');
      expect(anew.object.metadata.uid).not.toBe(object.metadata.uid);
    });

    it('wait while they are being deleted', async () => {
      await applier.apply(CONFIG_MAPS, child('a'), undefined);
      await edit(CONFIG_MAPS, 'a', { metadata: { finalizers: ['test.example/hold'] } });
      await client.delete(CONFIG_MAPS, namespace, `a-${run}`);
      const { outcome } = await applier.apply(CONFIG_MAPS, child('a', { a: '2' }), await config('a'));
      expect(outcome).toBe('terminating');
      await edit(CONFIG_MAPS, 'a', { metadata: { finalizers: null } });
    });

    it('never take the place of an object of another owner, or of nobody', async () => {
      const other = await client.create<ConfigMap>(CONFIG_MAPS, {
        metadata: { name: `other-${run}`, namespace },
      });
      const foreign = (name: string, by?: KubeObject) =>
        client.create<ConfigMap>(CONFIG_MAPS, {
          metadata: { name: `${name}-${run}`, namespace, ...(by && { ownerReferences: own(by) }) },
          data: { precious: 'x' },
        });
      const controlled = await foreign('controlled', other);
      const free = await foreign('free');
      for (const [name, live] of [
        ['controlled', controlled],
        ['free', free],
      ] as const) {
        for (const cached of [live, undefined]) {
          const attempt = applier.apply(CONFIG_MAPS, child(name), cached);
          await expect(attempt).rejects.toThrow(ForeignObjectError);
          await expect(attempt).rejects.toThrow(
            name === 'free'
              ? `ConfigMap "free-${run}" in namespace default exists already and nobody controls it`
              : `ConfigMap "controlled-${run}" in namespace default exists already and belongs to ConfigMap "other-${run}"`,
          );
        }
        expect(await config(name)).toEqual(live);
      }
    });

    it('do not take over a successor of the same name that the cache has not heard of', async () => {
      const { object } = await applier.apply(CONFIG_MAPS, child('a'), undefined);
      await client.delete(CONFIG_MAPS, namespace, `a-${run}`);
      const theirs = await client.create<ConfigMap>(CONFIG_MAPS, {
        metadata: { name: `a-${run}`, namespace },
        data: { precious: 'x' },
      });
      await expect(applier.apply(CONFIG_MAPS, child('a', { a: '2' }), object)).rejects.toThrow(
        ForeignObjectError,
      );
      expect(await config('a')).toEqual(theirs);
    });

    it('are taken back when their owner was deleted without them', async () => {
      const { object } = await applier.apply(CONFIG_MAPS, child('a'), undefined);
      const orphan = await edit<ConfigMap>(CONFIG_MAPS, 'a', { metadata: { ownerReferences: null } });
      owner = await client.create<ConfigMap>(CONFIG_MAPS, {
        metadata: { name: `owner-${run}-new`, namespace },
      });
      const back = await restarted().apply(CONFIG_MAPS, child('a'), orphan);
      expect(back.outcome).toBe('changed');
      expect(back.object.metadata.uid).toBe(object.metadata.uid);
      expect(back.object.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([owner.metadata.uid]);
    });

    it('need an owner', async () => {
      const free: ConfigMap = { metadata: { name: `a-${run}`, namespace } };
      await expect(applier.apply(CONFIG_MAPS, free, undefined)).rejects.toThrow(
        `ConfigMap "a-${run}" in namespace default names no owner`,
      );
    });

    it('are pruned when they are ours and wanted no more', async () => {
      const other = await client.create<ConfigMap>(CONFIG_MAPS, {
        metadata: { name: `other-${run}`, namespace },
      });
      for (const name of ['kept', 'dropped', 'unlabelled', 'gone'])
        await applier.apply(CONFIG_MAPS, child(name), undefined);
      const theirs = child('theirs');
      await applier.apply(
        CONFIG_MAPS,
        { ...theirs, metadata: { ...theirs.metadata, ownerReferences: own(other) } },
        undefined,
      );
      await edit(CONFIG_MAPS, 'unlabelled', { metadata: { labels: { [MANAGED_BY]: null } } });
      const { items } = await client.list<ConfigMap>(CONFIG_MAPS, { namespace });
      await client.delete(CONFIG_MAPS, namespace, `gone-${run}`);
      const deleted = await applier.prune(CONFIG_MAPS, owner, items, new Set([`kept-${run}`]));
      expect(deleted.map(({ metadata }) => metadata.name)).toEqual([`dropped-${run}`]);
      const left = (await client.list<ConfigMap>(CONFIG_MAPS, { namespace })).items
        .map(({ metadata }) => metadata.name)
        .filter((name) => name.endsWith(`-${run}`))
        .sort();
      expect(left).toEqual(
        ['kept', 'other', 'owner', 'theirs', 'unlabelled'].map((name) => `${name}-${run}`),
      );
    });

    it('settle: an informer that follows its own writes causes no more', async () => {
      const informer = new Informer<Deployment>({ client, type: DEPLOYMENTS });
      await informer.start();
      try {
        await applier.apply(DEPLOYMENTS, deployment(), undefined);
        await eventually(() => informer.get(`default/main-${run}`) !== undefined);
        const cached = informer.get(`default/main-${run}`);
        expect((await applier.apply(DEPLOYMENTS, deployment(), cached)).outcome).toBe('unchanged');
        await edit(DEPLOYMENTS, 'main', { spec: { replicas: 7 } });
        await eventually(() => informer.get(`default/main-${run}`)?.spec.replicas === 7);
        const drifted = informer.get(`default/main-${run}`);
        expect((await applier.apply(DEPLOYMENTS, deployment(), drifted)).outcome).toBe('changed');
        await eventually(() => informer.get(`default/main-${run}`)?.spec.replicas === 2);
      } finally {
        await informer.stop();
      }
    });
  });

  describe('status', () => {
    const status = (message: string) => ({
      replicas: 1,
      conditions: [{ type: 'Available', status: 'True', reason: 'Yes', message }],
    });
    let live: Deployment;
    beforeEach(async () => {
      live = (await applier.apply(DEPLOYMENTS, deployment(), undefined)).object;
    });
    const get = () => client.get<Deployment & Metadata>(DEPLOYMENTS, namespace, `main-${run}`);

    it('is written once, by a manager of its own', async () => {
      expect(await applier.applyStatus(DEPLOYMENTS, live, status('fine'))).toBe('changed');
      const written = await get();
      expect(written.status).toMatchObject(status('fine'));
      expect(written.spec).toEqual(live.spec);
      const managers = written.metadata.managedFields as { manager: string; subresource?: string }[];
      expect(managers.map(({ manager, subresource }) => [manager, subresource])).toContainEqual([
        'test-operator-status',
        'status',
      ]);
      // Neither the one that the cache still has, nor the present one, is worth a call.
      const calls = await countCalls(client, async () => {
        for (const cached of [live, written])
          expect(await applier.applyStatus(DEPLOYMENTS, cached, status('fine'))).toBe('unchanged');
      });
      expect(calls).toBe(0);
      expect(await restarted().applyStatus(DEPLOYMENTS, written, status('fine'))).toBe('unchanged');
      expect((await get()).metadata.resourceVersion).toBe(written.metadata.resourceVersion);
    });

    it('changes, loses what is said no more, and is put back', async () => {
      await applier.applyStatus(DEPLOYMENTS, live, status('fine'));
      expect(await applier.applyStatus(DEPLOYMENTS, await get(), status('better'))).toBe('changed');
      expect((await get()).status).toMatchObject(status('better'));
      await applier.applyStatus(DEPLOYMENTS, await get(), { replicas: 3 });
      expect((await get()).status).toEqual({ replicas: 3 });
      const { name } = live.metadata;
      const body = {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, namespace },
        status: { replicas: 9 },
      };
      const drifted = await client.apply<Deployment>(DEPLOYMENTS, body, 'somebody', 'status');
      expect(await applier.applyStatus(DEPLOYMENTS, drifted, { replicas: 3 })).toBe('changed');
      expect((await get()).status).toEqual({ replicas: 3 });
    });

    it('is known here before the cache hears of it', async () => {
      expect(applier.withLatestStatus(live)).toBe(live);
      await applier.applyStatus(DEPLOYMENTS, live, status('fine'));
      expect(applier.withLatestStatus(live).status).toMatchObject(status('fine'));
      const later = await edit<Deployment>(DEPLOYMENTS, 'main', { metadata: { labels: { later: '1' } } });
      expect(applier.withLatestStatus(later)).toBe(later);
    });

    it('of an object that is gone, or of its successor, is not written', async () => {
      await client.delete(DEPLOYMENTS, namespace, `main-${run}`);
      expect(await applier.applyStatus(DEPLOYMENTS, live, status('fine'))).toBe('gone');
      await applier.apply(DEPLOYMENTS, deployment(), undefined);
      expect(await applier.applyStatus(DEPLOYMENTS, live, status('fine'))).toBe('gone');
      expect((await get()).status).toEqual({});
    });
  });
});

/** Runs `work` and counts the calls that it makes. */
async function countCalls(client: KubeClient, work: () => Promise<unknown>): Promise<number> {
  const spies = [jest.spyOn(client, 'get'), jest.spyOn(client, 'apply')];
  try {
    await work();
    return spies.reduce((calls, { mock }) => calls + mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
