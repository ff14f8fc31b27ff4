import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { Applier } from './apply.ts';
import { KubeClient } from './client.ts';
import { changedBeyondStatus, children, Controller, source, type ControllerOptions } from './controller.ts';
import { Informer } from './informer.ts';
import { CONFIG_MAPS, ownerReference, splitKey, type KubeObject, type ResourceType } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';

/** Primary objects are config maps, and their children services accounts, which need nothing else. */
interface Owner extends KubeObject {
  data?: { children?: string; secret?: string };
}
const ACCOUNTS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'serviceaccounts',
  kind: 'ServiceAccount',
  namespaced: true,
};
const SECRETS: ResourceType = { ...ACCOUNTS, plural: 'secrets', kind: 'Secret' };
const namespace = 'default';

describeWithApiServer()('Controller', () => {
  let server: ApiServer;
  let client: KubeClient;
  let owners: Informer<Owner>;
  let accounts: Informer<KubeObject>;
  let secrets: Informer<KubeObject>;
  let controller: Controller<Owner>;
  let run = 0;
  const reconciled: string[] = [];
  const logged: { level: string; message: string; fields: Record<string, unknown> }[] = [];
  const log = Object.fromEntries(
    ['info', 'warn', 'error'].map((level) => [
      level,
      (fields: object, message: string) => logged.push({ level, message, fields: { ...fields } }),
    ]),
  ) as unknown as ControllerOptions<Owner>['log'];

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
    reconciled.length = 0;
    logged.length = 0;
    const options = { client, namespace, baseDelay: 20, maxDelay: 200 };
    owners = new Informer<Owner>({ ...options, type: CONFIG_MAPS, labelSelector: `run=r${run}` });
    accounts = new Informer<KubeObject>({ ...options, type: ACCOUNTS, labelSelector: `run=r${run}` });
    secrets = new Informer<KubeObject>({ ...options, type: SECRETS });
  });
  afterEach(async () => {
    await controller?.stop();
    await Promise.all([owners, accounts, secrets].map((informer) => informer.stop()));
  });

  const labels = () => ({ run: `r${run}` });
  const put = (name: string, data: Owner['data'] = {}) =>
    client.create<Owner>(CONFIG_MAPS, {
      metadata: { name: `${name}-${run}`, namespace, labels: labels() },
      data,
    });
  const edit = (name: string, body: object) =>
    client.mergePatch<Owner>(CONFIG_MAPS, namespace, `${name}-${run}`, body);
  const key = (name: string) => `${namespace}/${name}-${run}`;
  const count = (name: string) => reconciled.filter((each) => each === key(name)).length;

  /** No further reconcile for a while. */
  async function quiet(): Promise<void> {
    let before = -1;
    await eventually(async () => {
      const same = before === reconciled.length && controller.size === 0;
      before = reconciled.length;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return same;
    });
  }

  async function start(
    reconcile: ControllerOptions<Owner>['reconcile'] = async () => undefined,
    options: Partial<ControllerOptions<Owner>> = {},
  ): Promise<void> {
    controller = new Controller<Owner>({
      primary: owners,
      reconcile: (each, signal) => {
        reconciled.push(each);
        return reconcile(each, signal);
      },
      log,
      baseDelay: 20,
      ...options,
    });
    await controller.start();
  }

  it('reconciles what is there, and what comes, changes and goes', async () => {
    await put('old');
    await start();
    await eventually(() => expect(reconciled).toEqual([key('old')]));
    await put('new');
    await eventually(() => expect(count('new')).toBe(1));
    await edit('new', { data: { secret: 'x' } });
    await eventually(() => expect(count('new')).toBe(2));
    await client.delete(CONFIG_MAPS, namespace, `new-${run}`);
    await eventually(() => expect(count('new')).toBe(3));
    expect(owners.get(key('new'))).toBeUndefined();
    expect(count('old')).toBe(1);
  });

  it('waits until every cache is complete', async () => {
    await put('a', { secret: `late-${run}` });
    await client.create(SECRETS, { metadata: { name: `late-${run}`, namespace } });
    let found: boolean | undefined;
    // Of this one everything takes longer.
    const slow = new KubeClient(configOf(server), { userAgent: 'slow' });
    const list = slow.list.bind(slow);
    slow.list = async (...args) => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      return list(...args) as never;
    };
    secrets = new Informer<KubeObject>({ client: slow, type: SECRETS, namespace });
    const secondary = [source(secrets, () => [])];
    await start(async () => void (found ??= secrets.get(`${namespace}/late-${run}`) !== undefined), {
      secondary,
    });
    await eventually(() => expect(found).toBe(true));
    slow.close();
  });

  it('reconciles the owner of a child, before and after, and whoever refers to an object', async () => {
    const a = await put('a', { secret: `db-${run}` });
    const b = await put('b');
    const referring = ({ metadata: { name } }: KubeObject) =>
      [...owners.list()]
        .filter(({ data }) => data?.secret === name)
        .map(({ metadata }) => `${namespace}/${metadata.name}`);
    await start(undefined, { secondary: [children(accounts, CONFIG_MAPS), source(secrets, referring)] });
    await quiet();
    reconciled.length = 0;
    const account = { name: `child-${run}`, namespace, labels: labels() };
    await client.create(ACCOUNTS, {
      metadata: { ...account, ownerReferences: [ownerReference(CONFIG_MAPS, a)] },
    });
    await eventually(() => expect(reconciled).toEqual([key('a')]));
    await client.mergePatch(ACCOUNTS, namespace, account.name, {
      metadata: { ownerReferences: [ownerReference(CONFIG_MAPS, b)] },
    });
    await eventually(() => expect(reconciled.slice(1).sort()).toEqual([key('a'), key('b')]));
    await client.delete(ACCOUNTS, namespace, account.name);
    await eventually(() => expect(reconciled.slice(3)).toEqual([key('b')]));
    await client.create(SECRETS, { metadata: { name: `db-${run}`, namespace } });
    await eventually(() => expect(reconciled.slice(4)).toEqual([key('a')]));
  });

  it('looks after children whose owner went while nobody looked', async () => {
    const a = await put('a');
    const metadata = { name: `child-${run}`, namespace, labels: labels() };
    await client.create(ACCOUNTS, {
      metadata: { ...metadata, ownerReferences: [ownerReference(CONFIG_MAPS, a)] },
    });
    await client.delete(CONFIG_MAPS, namespace, `a-${run}`);
    await start(undefined, { secondary: [children(accounts, CONFIG_MAPS)] });
    await eventually(() => expect(reconciled).toEqual([key('a')]));
  });

  it('puts a child back that was changed or deleted, and then is quiet', async () => {
    const applier = new Applier({
      client,
      fieldManager: 'test-operator',
      hashAnnotation: 'test.example/applied',
    });
    const reconcile = async (each: string) => {
      const owner = owners.get(each);
      if (owner === undefined) return;
      const wanted = (owner.data?.children ?? '').split(',').filter((name) => name !== '');
      for (const child of wanted) {
        const name = `${child}-${run}`;
        const ownerReferences = [ownerReference(CONFIG_MAPS, owner)];
        const desired = {
          metadata: { name, namespace, labels: labels(), ownerReferences },
          automountServiceAccountToken: false,
        };
        await applier.apply<KubeObject>(ACCOUNTS, desired, accounts.get(`${namespace}/${name}`));
      }
      const names = new Set(wanted.map((child) => `${child}-${run}`));
      await applier.prune(ACCOUNTS, owner, accounts.list(), names);
    };
    const account = (name: string) =>
      client.get<KubeObject & { automountServiceAccountToken: boolean }>(
        ACCOUNTS,
        namespace,
        `${name}-${run}`,
      );
    await put('a', { children: 'x,y' });
    await start(reconcile, { secondary: [children(accounts, CONFIG_MAPS)] });
    await eventually(async () => Promise.all([account('x'), account('y')]));

    await client.mergePatch(ACCOUNTS, namespace, `x-${run}`, { automountServiceAccountToken: true });
    await eventually(async () => expect((await account('x')).automountServiceAccountToken).toBe(false));
    // With its label gone, the informer does not see it any more, and it is put back all the same.
    await client.mergePatch(ACCOUNTS, namespace, `x-${run}`, { metadata: { labels: { run: null } } });
    await eventually(async () => expect((await account('x')).metadata.labels).toMatchObject(labels()));
    await client.delete(ACCOUNTS, namespace, `y-${run}`);
    await eventually(() => account('y'));
    await edit('a', { data: { children: 'x' } });
    await eventually(async () => expect(account('y')).rejects.toMatchObject({ kind: 'notFound' }));

    await quiet();
    const settled = await account('x');
    controller.enqueue(key('a'));
    await quiet();
    expect((await account('x')).metadata.resourceVersion).toBe(settled.metadata.resourceVersion);
    expect(logged.filter(({ level }) => level !== 'info')).toEqual([]);
  });

  it('tries again what failed, later each time, says so, and holds nobody else up', async () => {
    let failures = 3;
    await put('bad');
    await put('good');
    await start(async (each) => {
      if (each === key('bad') && failures-- > 0) throw new Error('the moon is full: wait for a new one');
    });
    await eventually(() => expect(count('bad')).toBe(4));
    expect(count('good')).toBe(1);
    const errors = logged.filter(({ level }) => level === 'error');
    expect(errors.map(({ fields }) => fields['failures'])).toEqual([1, 2, 3]);
    expect(errors[0]?.message).toMatch(
      new RegExp(
        `^ConfigMap ${key('bad')} cannot be reconciled: the moon is full: wait for a new one; it is tried again in \\d+ ms$`,
      ),
    );
    const delays = errors.map(({ fields }) => Number(fields['retry_in_ms']));
    expect(delays[1]).toBeGreaterThan(delays[0] as number);
    expect(delays[2]).toBeGreaterThan(delays[1] as number);
  });

  it('makes no noise of a conflict', async () => {
    await put('a');
    let tries = 0;
    await start(async (each) => {
      if (tries++ > 0) return;
      const { name } = splitKey(each);
      await client.mergePatch(CONFIG_MAPS, namespace, name, {
        metadata: { resourceVersion: '1', labels: {} },
      });
    });
    await eventually(() => expect(count('a')).toBe(2));
    expect(logged.map(({ level }) => level)).not.toContain('error');
    expect(logged.at(-1)?.message).toContain('changed while it was reconciled');
  });

  it('comes back when it is asked to, and tells how long it took', async () => {
    await put('a');
    const durations: number[] = [];
    await start(async () => ({ requeueAfter: 30 }), {
      onReconciled: (_, duration) => durations.push(duration),
    });
    await eventually(() => expect(count('a')).toBeGreaterThan(3));
    expect(durations.length).toBeGreaterThan(2);
  });

  it('takes changes of the status for nothing where that is asked', async () => {
    await put('a');
    await start(undefined, { when: changedBeyondStatus });
    await eventually(() => expect(count('a')).toBe(1));
    // Config maps have neither status nor generation: their data stands for what is left out.
    await edit('a', { data: { secret: 'x' } });
    await eventually(() => expect(owners.get(key('a'))?.data).toEqual({ secret: 'x' }));
    await edit('a', { metadata: { annotations: { touched: '1' } } });
    await eventually(() => expect(count('a')).toBe(2));
    await quiet();
    expect(count('a')).toBe(2);
  });

  it('stops when the work under way has ended, and takes nothing new up', async () => {
    await put('a');
    const end = Promise.withResolvers<void>();
    await start(() => end.promise);
    await eventually(() => expect(count('a')).toBe(1));
    await put('b');
    let stopped = false;
    const stopping = controller.stop().then(() => (stopped = true));
    await edit('a', { data: { secret: 'x' } });
    await eventually(() => expect(owners.get(key('a'))?.data).toEqual({ secret: 'x' }));
    expect(stopped).toBe(false);
    end.resolve();
    await stopping;
    expect(count('a')).toBe(1);
  });

  it('gives up what does not end', async () => {
    await put('a');
    let told: AbortSignal | undefined;
    await start(async (_, signal) => {
      told = signal;
      await new Promise(() => undefined);
    });
    await eventually(() => expect(count('a')).toBe(1));
    expect(told?.aborted).toBe(false);
    await controller.stop(50);
    expect(told?.aborted).toBe(true);
    expect(logged.at(-1)).toMatchObject({ level: 'warn', fields: { keys: [key('a')] } });
  });

  it('begins nothing when it is stopped before the caches are complete', async () => {
    await put('a');
    await owners.stop();
    await start();
    expect(controller.synced).toBe(false);
    expect(reconciled).toEqual([]);
  });

  it('survives the API server', async () => {
    await put('a');
    await start();
    await eventually(() => expect(count('a')).toBe(1));
    await server.killServer();
    await eventually(() => owners.stats.failures > 1);
    await server.startServer();
    await edit('a', { data: { secret: 'after' } });
    await put('b');
    await eventually(() => expect([count('a'), count('b')]).toEqual([2, 1]));
  }, 60_000);
});

describe('changedBeyondStatus', () => {
  const before = {
    metadata: { name: 'a', uid: '1', generation: 1, resourceVersion: '1', labels: { a: '1' } },
  };
  it.each([
    ['a new resourceVersion', { resourceVersion: '2' }, false],
    ['a new generation', { generation: 2 }, true],
    ['a deletion', { deletionTimestamp: '2026-01-01T00:00:00Z' }, true],
    ['a label', { labels: { a: '2' } }, true],
    ['a finalizer', { finalizers: ['x'] }, true],
    ['a successor', { uid: '2' }, true],
  ])('%s: %j: %s', (_, change, expected) => {
    expect(changedBeyondStatus({ metadata: { ...before.metadata, ...change } }, before)).toBe(expected);
  });
});
