import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, jest } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { EventRecorder, type EventInput, type EventRecorderOptions, type KubeEvent } from './events.ts';
import { CONFIG_MAPS, EVENTS, type KubeObject } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';

const namespace = 'default';
const MINUTE = 60_000;
const FAILED: EventInput = {
  type: 'Warning',
  reason: 'SecretMissing',
  action: 'Render',
  note: 'the secret "db" does not exist: create it',
};

describeWithApiServer()('EventRecorder', () => {
  let server: ApiServer;
  let client: KubeClient;
  let recorder: EventRecorder;
  let object: KubeObject;
  let now: Date;
  let errors: unknown[];
  let run = 0;

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test', timeout: 5000 });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    object = await client.create(CONFIG_MAPS, { metadata: { name: `object-${++run}`, namespace } });
    now = new Date();
    errors = [];
    recorder = recorderWith();
  });
  afterEach(async () => {
    await recorder.stop();
  });

  function recorderWith(options: Partial<EventRecorderOptions> = {}): EventRecorder {
    return new EventRecorder({
      client,
      controller: 'test.example/operator',
      instance: 'operator-0',
      now: () => now,
      onError: (error) => errors.push(error),
      ...options,
    });
  }
  const record = (input: Partial<EventInput> = {}) =>
    recorder.record(CONFIG_MAPS, object, { ...FAILED, ...input });
  const later = (ms: number) => (now = new Date(now.getTime() + ms));
  async function events(): Promise<KubeEvent[]> {
    const { items } = await client.list<KubeEvent>(EVENTS, { namespace });
    return items.filter(({ regarding }) => regarding['uid'] === object.metadata.uid);
  }
  const counts = async () => (await events()).map(({ series }) => series?.count ?? 1);

  it('tells what happened to what, so that `kubectl describe` finds it', async () => {
    record();
    await eventually(async () => expect(await events()).toHaveLength(1));
    expect((await events())[0]).toMatchObject({
      ...FAILED,
      reportingController: 'test.example/operator',
      reportingInstance: 'operator-0',
      regarding: { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: `object-${run}` },
    });
    const old = { group: '', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
    const fieldSelector = `involvedObject.uid=${object.metadata.uid}`;
    expect((await client.list(old, { namespace, fieldSelector })).items).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  it('counts what happens again, and tells anew what has changed', async () => {
    for (let i = 0; i < 5; i++) {
      record();
      later(MINUTE);
    }
    record({ note: 'the secret "db" has no key "url": add it' });
    await eventually(async () => expect(await events()).toHaveLength(2));
    await recorder.stop();
    expect((await counts()).sort()).toEqual([1, 5]);
    const series = (await events()).find((event) => event.series !== undefined)?.series;
    expect(series?.lastObservedTime).toMatch(/^\d{4}-.*\.\d{6}Z$/);
    expect(errors).toEqual([]);
  });

  it('writes the count of what goes on now and then, and tells anew what comes back after a while', async () => {
    await recorder.stop();
    recorder = recorderWith({ window: 10 * MINUTE, seriesInterval: 30 });
    record();
    await eventually(async () => expect(await counts()).toEqual([1]));
    later(9 * MINUTE);
    record();
    await eventually(async () => expect(await counts()).toEqual([2]));
    later(9 * MINUTE);
    record();
    await eventually(async () => expect(await counts()).toEqual([3]));
    later(11 * MINUTE);
    record();
    await eventually(async () => expect((await counts()).sort()).toEqual([1, 3]));
  });

  it('starts over when the server has dropped the event', async () => {
    record();
    await eventually(async () => expect(await events()).toHaveLength(1));
    for (const { metadata } of await events()) await client.delete(EVENTS, namespace, metadata.name);
    record();
    await recorder.stop();
    expect(await counts()).toEqual([2]);
    expect(errors).toEqual([]);
  });

  it('does not flood the server with notes that are different each time', async () => {
    await recorder.stop();
    recorder = recorderWith({ burst: 3 });
    for (let i = 0; i < 50; i++) record({ note: `attempt ${i}` });
    await recorder.stop();
    expect(await events()).toHaveLength(3);
  });

  it('cuts long notes and names', async () => {
    object = await client.create(CONFIG_MAPS, { metadata: { name: 'x'.repeat(250), namespace } });
    record({ note: 'ä'.repeat(2000) });
    await recorder.stop();
    expect(errors).toEqual([]);
    const [event] = await events();
    expect(Buffer.byteLength(event?.note ?? '')).toBeLessThanOrEqual(1024);
    expect(event?.note).toMatch(/^ä+…$/);
  });

  it('throws nothing and waits for nothing, whatever the server says', async () => {
    record({ action: '' });
    await eventually(() => expect(errors).toHaveLength(1));
    expect(String(errors[0])).toContain('action');
    record();
    await eventually(async () => expect(await events()).toHaveLength(1));
    const nobody = new KubeClient(configOf(server, { token: 'nobody' }), { userAgent: 'test' });
    const refused = recorderWith({ client: nobody });
    refused.record(CONFIG_MAPS, object, FAILED);
    await eventually(() => expect(errors).toHaveLength(2));
    expect(errors[1]).toMatchObject({ kind: 'forbidden' });
    await refused.stop();
    nobody.close();
  });

  it('tries again while the server is away, but not for ever', async () => {
    await recorder.stop();
    recorder = recorderWith({ retryPeriod: 20 });
    const away = new KubeClient(configOf(server, { via: await closedPort() }), { userAgent: 'test' });
    const create = jest.spyOn(client, 'create');
    const reallyCreate = KubeClient.prototype.create.bind(client);
    try {
      create.mockImplementation((type, event) =>
        create.mock.calls.length < 3 ? away.create(type, event) : reallyCreate(type, event),
      );
      record();
      await eventually(async () => expect(await events()).toHaveLength(1));
      expect(errors).toHaveLength(2);

      create.mockImplementation((type, event) => away.create(type, event));
      record({ note: 'lost' });
      await eventually(() => expect(errors).toHaveLength(7));
    } finally {
      create.mockRestore();
      away.close();
    }
    record({ note: 'and now' });
    await eventually(async () => expect((await events()).map(({ note }) => note)).toContain('and now'));
    expect(await events()).toHaveLength(2);
    expect(errors).toHaveLength(7);
  });
});

async function closedPort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}
