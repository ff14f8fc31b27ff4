import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { keyOf, type KubeObject, type ResourceType } from './objects.ts';
import { OptionalInformer } from './optional-informer.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';

const THINGS: ResourceType = {
  group: 'things.example',
  version: 'v1',
  plural: 'things',
  kind: 'Thing',
  namespaced: true,
};

const DEFINITIONS: ResourceType = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

const DEFINITION = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'things.things.example' },
  spec: {
    group: THINGS.group,
    scope: 'Namespaced',
    names: { kind: 'Thing', plural: 'things' },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
  },
};

describeWithApiServer()('OptionalInformer', () => {
  let server: ApiServer;
  let client: KubeClient;
  let informer: OptionalInformer<KubeObject>;

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
  }, 60_000);
  afterEach(() => informer.stop());
  afterAll(() => server.stop());

  const follow = (told: boolean[], errors: unknown[], asNobody = false): OptionalInformer<KubeObject> =>
    new OptionalInformer<KubeObject>({
      client: asNobody
        ? new KubeClient(configOf(server, { token: 'nobody' }), { userAgent: 'test' })
        : client,
      type: THINGS,
      recheck: 100,
      baseDelay: 50,
      onPresence: (present) => told.push(present),
      onError: (error) => errors.push(error),
    });

  it('is empty without the kind, fills when somebody defines it, and empties when it goes', async () => {
    const told: boolean[] = [];
    informer = follow(told, []);
    const changes: string[] = [];
    informer.onChange((change, object) => changes.push(`${change} ${keyOf(object)}`));
    await informer.start();
    expect([informer.synced, informer.present, [...informer.list()]]).toEqual([true, false, []]);

    await client.create(DEFINITIONS, DEFINITION);
    await eventually(() => informer.present);
    expect(told).toEqual([true]);
    await client.create(THINGS, {
      apiVersion: 'things.example/v1',
      kind: 'Thing',
      metadata: { name: 'one', namespace: 'default' },
    });
    await eventually(() => expect(changes).toEqual(['added default/one']));
    expect(informer.get('default/one')).toBeDefined();

    await client.delete(DEFINITIONS, undefined, DEFINITION.metadata.name);
    await eventually(() => !informer.present);
    await eventually(() => expect(told).toEqual([true, false]));
    expect([...informer.list()]).toEqual([]);
  }, 60_000);

  it('does without a kind that it may not see, and says so', async () => {
    const errors: unknown[] = [];
    informer = follow([], errors, true);
    await informer.start();
    expect([informer.synced, informer.present]).toEqual([true, false]);
    expect(errors).toContainEqual(expect.objectContaining({ kind: 'forbidden' }));
  }, 60_000);
});
