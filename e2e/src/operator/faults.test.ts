import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { startTcpProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { AdminClient } from '../spend/caps.ts';
import { describeWithApiServer } from '../testbed/requirements.ts';
import type { OperatorProcess } from './operator-process.ts';
import { ADMIN_KEY, Platform, until, type Namespace } from './platform.ts';

describeWithApiServer()('the operator, when things go wrong', () => {
  let platform: Platform;
  let network: TcpProxy;
  const operators: OperatorProcess[] = [];

  beforeAll(async () => {
    platform = await Platform.start();
    network = await startTcpProxy(platform.postgres.port);
  }, 120_000);
  afterAll(async () => {
    await network?.stop();
    await platform?.stop();
  });

  async function operator(name: string, env: NodeJS.ProcessEnv = {}): Promise<OperatorProcess> {
    const started = await platform.operator(name, env);
    operators.push(started);
    return started;
  }

  const stopAll = async (): Promise<void> => {
    await Promise.all(operators.splice(0).map((one) => one.stop('SIGKILL')));
  };

  const policy = (namespace: Namespace, name: string, usd: string) =>
    namespace.manifest('SpendPolicy', name, {
      subject: name === 'everybody' ? { kind: 'Organization' } : { kind: 'Group', name },
      limits: [{ period: 'Daily', usd }],
    });

  /** Amounts in the gateway's database, in whole cents, sorted. */
  async function amounts(namespace: Namespace): Promise<number[]> {
    return query<{ amount: string }>(namespace, 'SELECT amount FROM claude_gateway.spend_limits').then(
      (rows) => rows.map(({ amount }) => Number(BigInt(amount) / 10_000_000n)).sort((a, b) => a - b),
    );
  }

  async function query<T extends object>(namespace: Namespace, text: string): Promise<T[]> {
    const client = new pg.Client(namespace.databaseUrl);
    await client.connect();
    try {
      return (await client.query<T>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** A gateway that reaches its database through {@link network}, with one policy in force. */
  async function gateway(name: string): Promise<Namespace> {
    const namespace = await platform.namespace(name);
    const url = new URL(namespace.databaseUrl);
    url.port = String(network.port);
    await namespace.secret('database', { url: url.href });
    await namespace.apply(namespace.gatewayManifest());
    await namespace.apply(policy(namespace, 'everybody', '1.00'));
    await until(async () => (await amounts(namespace).catch(() => [])).length === 1);
    return namespace;
  }

  it('goes on when the API server was away, and when etcd hung', async () => {
    await operator('survivor');
    const namespace = await gateway('outage');
    await platform.server.killServer();
    await sleep(2_000);
    await platform.server.startServer();
    await namespace.apply(policy(namespace, 'everybody', '2.00'));
    await until(async () => (await amounts(namespace))[0] === 200);

    platform.server.pauseEtcd();
    await sleep(8_000);
    platform.server.resumeEtcd();
    await until(async () => {
      await namespace.apply(policy(namespace, 'everybody', '3.00'));
      return true;
    });
    await until(async () => (await amounts(namespace))[0] === 300);
    await stopAll();
  }, 180_000);

  it('is continued by another one when it is killed in the middle', async () => {
    const namespace = await platform.namespace('killed');
    await namespace.apply(namespace.gatewayManifest());
    const names = Array.from({ length: 40 }, (_, i) => `group-${i}`);
    for (let round = 0; round < 4; round++) {
      const one = await operator(`mortal-${round}`);
      const some = names.slice(round * 10, round * 10 + 10);
      await Promise.all(
        some.map((name, i) => namespace.apply(policy(namespace, name, `${round * 10 + i + 1}.00`))),
      );
      // Somewhere between the first row and the last status.
      await sleep(40 * round);
      await one.stop('SIGKILL');
    }
    await operator('heir');
    for (const name of names) await namespace.condition('SpendPolicy', name, 'Accepted', 'True');
    const wanted = JSON.stringify(names.map((_, i) => (i + 1) * 100));
    await until(async () => JSON.stringify(await amounts(namespace).catch(() => [])) === wanted);
    // Nobody took a row away in between, not even for a moment.
    const trail = `SELECT action FROM claude_gateway.admin_audit WHERE action LIKE '%delete%'`;
    expect(await query(namespace, trail)).toEqual([]);
    await Promise.all(names.map((name) => namespace.delete('SpendPolicy', name)));
    expect(await namespace.list('SpendPolicy')).toEqual([]);
    await until(async () => (await amounts(namespace)).length === 0);
    await stopAll();
  }, 240_000);

  it('does no harm when two of them race, and settles', async () => {
    await Promise.all([operator('left'), operator('right')]);
    const namespace = await gateway('race');
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => namespace.apply(policy(namespace, `team-${i}`, `${i + 2}.00`))),
    );
    await until(async () => (await amounts(namespace)).length === 11);
    const versions = async (): Promise<string> => {
      const lists = await Promise.all(
        ['ClaudeGateway', 'SpendPolicy', 'Deployment', 'ConfigMap', 'Secret', 'Service'].map((kind) =>
          namespace.list(kind),
        ),
      );
      return JSON.stringify(lists.flat().map(({ metadata }) => [metadata.uid, metadata.resourceVersion]));
    };
    // Nobody undoes what the other one has done.
    await until(async () => {
      const before = await versions();
      await sleep(3_000);
      return before === (await versions());
    });
    expect(
      (await query<{ n: string }>(namespace, 'SELECT count(*) AS n FROM claude_gateway.spend_limits'))[0]?.n,
    ).toBe('11');
    await stopAll();
  }, 180_000);

  it('hands over when the leader dies', async () => {
    const env = { LEADER_ELECTION: 'true' };
    const first = await operator('first', env);
    await until(async () => (await first.metric('claude_gateway_operator_leader')) === 1);
    const second = await operator('second', env);
    expect(await second.metric('claude_gateway_operator_leader')).toBe(0);
    const namespace = await gateway('handover');
    await first.stop('SIGTERM');
    await until(async () => (await second.metric('claude_gateway_operator_leader')) === 1);
    await namespace.apply(policy(namespace, 'everybody', '4.00'));
    await until(async () => (await amounts(namespace))[0] === 400);
    await stopAll();
  }, 180_000);

  it('waits for PostgreSQL, says so, and catches up, deletions meanwhile included', async () => {
    await operator('patient');
    const namespace = await gateway('away');
    await namespace.apply(policy(namespace, 'contractors', '5.00'));
    await until(async () => (await amounts(namespace)).length === 2);

    network.set('refuse');
    await namespace.apply(policy(namespace, 'everybody', '6.00'));
    const { message } = await namespace.condition(
      'SpendPolicy',
      'everybody',
      'Enforced',
      'Unknown',
      'DatabaseUnavailable',
    );
    expect(message).toContain('main');
    expect(message).not.toContain('password');
    await namespace.delete('SpendPolicy', 'contractors');
    expect(await namespace.exists('SpendPolicy', 'contractors')).toBe(false);

    network.set('pass');
    await until(async () => JSON.stringify(await amounts(namespace)) === '[600]');
    await stopAll();
  }, 180_000);

  it('puts back a row that somebody edited by hand, and keeps the admin API from it', async () => {
    await operator('keeper');
    const namespace = await gateway('rows');
    await until(() => namespace.exists('Deployment', 'main'));
    const pod = await platform.pod(namespace, 'main');
    const admin = new AdminClient(() => pod.url, ADMIN_KEY);
    await expect(
      admin.call('POST', '', { scope: { type: 'organization' }, amount: '900', period: 'daily' }),
    ).rejects.toThrow(/409.*SpendPolicy.*everybody/);
    await query(namespace, 'UPDATE claude_gateway.spend_limits SET amount = 42');
    await until(async () => (await amounts(namespace))[0] === 100);
    await query(namespace, 'DELETE FROM claude_gateway.spend_limits');
    await until(async () => (await amounts(namespace))[0] === 100);
    await stopAll();
  }, 240_000);
});
