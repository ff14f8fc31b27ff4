import { afterAll, beforeAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { startTcpProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { describeWithApiServer } from '../testbed/requirements.ts';
import type { OperatorProcess } from './operator-process.ts';
import { Platform, until, type Namespace } from './platform.ts';

const FORMER_FINALIZER = 'claudegateway.dev/rows';
const KINDS = ['ClaudeGateway', 'SpendPolicy', 'ManagedSettings'];

describeWithApiServer()('what is deleted goes, whoever is away', () => {
  let platform: Platform;
  let network: TcpProxy;
  let operator: OperatorProcess | undefined;

  beforeAll(async () => {
    platform = await Platform.start();
    network = await startTcpProxy(platform.postgres.port);
  }, 120_000);
  afterAll(async () => {
    await network?.stop();
    await platform?.stop();
  });

  /** A gateway that reaches its database through {@link network}, with a policy of each kind. */
  async function site(name: string): Promise<Namespace> {
    const namespace = await platform.namespace(name);
    const url = new URL(namespace.databaseUrl);
    url.port = String(network.port);
    await namespace.secret('database', { url: url.href });
    await namespace.apply(namespace.gatewayManifest());
    await namespace.apply(policy(namespace));
    await namespace.apply(
      namespace.manifest('ManagedSettings', 'everybody', {
        settings: { permissions: { deny: ['WebFetch'] } },
      }),
    );
    return namespace;
  }

  const policy = (namespace: Namespace, name = 'everybody') =>
    namespace.manifest('SpendPolicy', name, {
      subject: { kind: 'Organization' },
      limits: [{ period: 'Daily', usd: '1.00' }],
    });

  /** Rows of custom resources. */
  async function owned(namespace: Namespace): Promise<number> {
    const client = new pg.Client(namespace.databaseUrl);
    await client.connect();
    try {
      const { rows } = await client.query<{ n: string }>(
        `SELECT (SELECT count(*) FROM claude_gateway.spend_limits) + (SELECT count(*) FROM claude_gateway.managed_policies) AS n`,
      );
      return Number(rows[0]?.n);
    } catch (error) {
      // Not migrated yet.
      if ((error as { code?: string }).code === '42P01') return 0;
      throw error;
    } finally {
      await client.end();
    }
  }

  /** As `kubectl delete namespace` does it: everything at once, in no order, without looking back. */
  const deleteAll = async (namespace: Namespace): Promise<void> => {
    const objects = (await Promise.all(KINDS.map((kind) => namespace.list(kind)))).flat();
    await Promise.all(objects.map(({ kind, metadata }) => namespace.delete(kind, metadata.name)));
  };

  const left = async (namespace: Namespace): Promise<unknown[]> =>
    (await Promise.all(KINDS.map((kind) => namespace.list(kind)))).flat();

  it('puts no finalizer on anything, and clears the database of what is gone', async () => {
    operator = await platform.operator('one');
    const namespace = await site('plain');
    await until(async () => (await owned(namespace)) === 2);
    await namespace.condition('SpendPolicy', 'everybody', 'Accepted', 'True');
    const objects = (await Promise.all(KINDS.map((kind) => namespace.list(kind)))).flat();
    expect(objects.map(({ metadata }) => metadata.finalizers)).toEqual([undefined, undefined, undefined]);
    await deleteAll(namespace);
    expect(await left(namespace)).toEqual([]);
    await until(async () => (await owned(namespace)) === 0);
  }, 120_000);

  it('says which gateways have one URL, and which one database, and stops when they do not', async () => {
    const namespace = await site('common');
    const message = async (): Promise<string> =>
      (await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True')).message;
    expect(await message()).not.toContain('same');
    await namespace.apply(namespace.gatewayManifest('copy'));
    await until(async () =>
      /common\/copy has the same spec.publicURL.*common\/copy has the same database/.test(await message()),
    );
    await namespace.delete('ClaudeGateway', 'copy');
    await until(async () => !(await message()).includes('same'));
  }, 120_000);

  it('does not wait for a database that is away, and clears it when it is back', async () => {
    const namespace = await site('away');
    await until(async () => (await owned(namespace)) === 2);
    network.set('refuse');
    await namespace.delete('SpendPolicy', 'everybody');
    expect(await namespace.exists('SpendPolicy', 'everybody')).toBe(false);
    network.set('pass');
    await until(async () => (await owned(namespace)) === 1);
    network.set('refuse');
    await deleteAll(namespace);
    expect(await left(namespace)).toEqual([]);
    network.set('pass');
    await until(async () => (await owned(namespace)) === 0);
  }, 120_000);

  it('lets a policy go whose gateway was never accepted', async () => {
    const namespace = await site('refused');
    await namespace.apply(
      namespace.gatewayManifest('main', { database: { urlSecretRef: { name: 'nobody', key: 'url' } } }),
    );
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'False');
    await deleteAll(namespace);
    expect(await left(namespace)).toEqual([]);
  }, 120_000);

  it('lets everything go while no operator runs, and clears what a later gateway finds in its database', async () => {
    const namespace = await site('alone');
    await until(async () => (await owned(namespace)) === 2);
    await operator?.stop();
    await deleteAll(namespace);
    expect(await left(namespace)).toEqual([]);
    operator = await platform.operator('two');
    await namespace.apply(namespace.gatewayManifest('successor'));
    await until(async () => (await owned(namespace)) === 0);
  }, 120_000);

  it('takes off the finalizer that earlier versions put on, from what lives and from what hangs', async () => {
    await operator?.stop();
    const namespace = await site('upgraded');
    await namespace.apply(policy(namespace, 'hanging'));
    const metadata = { finalizers: [FORMER_FINALIZER, 'test.example/theirs'] };
    for (const kind of KINDS)
      for (const { metadata: object } of await namespace.list(kind))
        await namespace.edit(kind, object.name, { metadata });
    await namespace.delete('SpendPolicy', 'hanging');
    expect(await namespace.exists('SpendPolicy', 'hanging')).toBe(true);
    operator = await platform.operator('three');
    await until(async () => {
      const objects = (await Promise.all(KINDS.map((kind) => namespace.list(kind)))).flat();
      return (
        objects.length === 4 && objects.every(({ metadata: { finalizers } }) => finalizers?.length === 1)
      );
    });
    // The one that is being deleted is gone as far as limits are concerned.
    await until(async () => (await owned(namespace)) === 2);
    for (const kind of KINDS)
      for (const { metadata: object } of await namespace.list(kind))
        await namespace.edit(kind, object.name, { metadata: { finalizers: null } });
    expect(await namespace.exists('SpendPolicy', 'hanging')).toBe(false);
  }, 120_000);
});
