import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { AdminClient } from '../spend/caps.ts';
import { describeWithApiServer } from '../testbed/requirements.ts';
import type { OperatorProcess } from './operator-process.ts';
import { ADMIN_KEY, Platform, templateOf, until, type Namespace } from './platform.ts';

describeWithApiServer()('the operator, on a real API server and a real database', () => {
  let platform: Platform;
  let operator: OperatorProcess;

  beforeAll(async () => {
    platform = await Platform.start();
    await platform.defineServiceMonitors();
    operator = await platform.operator();
  }, 120_000);
  afterAll(() => platform?.stop());

  const everybody = (namespace: Namespace, usd = '5.00') =>
    namespace.manifest('SpendPolicy', 'everybody', {
      subject: { kind: 'Organization' },
      limits: [{ period: 'Daily', usd }],
    });

  /** Everything that carries the labels of a gateway's children, and the version of each. */
  async function childrenOf(namespace: Namespace, gateway: string): Promise<Map<string, string>> {
    const kinds = [
      ...['ServiceAccount', 'ConfigMap', 'Secret', 'Service', 'Deployment', 'PodDisruptionBudget'],
      ...['NetworkPolicy', 'Ingress', 'HorizontalPodAutoscaler', 'ServiceMonitor'],
    ];
    const lists = await Promise.all(
      kinds.map(async (kind) => (await namespace.list(kind)).map((object) => ({ kind, ...object.metadata }))),
    );
    const own = lists
      .flat()
      .filter(({ labels }) => labels?.['app.kubernetes.io/managed-by'] === 'claude-gateway-operator')
      .filter(({ labels }) => labels?.['app.kubernetes.io/instance'] === gateway);
    return new Map(own.map(({ kind, name, resourceVersion }) => [`${kind} ${name}`, resourceVersion]));
  }

  /** As they are once nothing has changed for a while. */
  async function settled(namespace: Namespace, gateway: string): Promise<Map<string, string>> {
    return until(async () => {
      const before = await childrenOf(namespace, gateway);
      await sleep(1_000);
      const after = await childrenOf(namespace, gateway);
      return before.size > 0 && isDeepStrictEqual(before, after) ? after : undefined;
    });
  }

  it('makes what a gateway needs, and writes nothing when nothing is to be changed', async () => {
    const namespace = await platform.namespace('whole');
    await namespace.apply(namespace.gatewayManifest('main', { ingress: { className: 'nginx' } }));
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
    const children = await settled(namespace, 'main');
    expect([...children.keys()].sort()).toEqual([
      'ConfigMap main-config',
      'Deployment main',
      'Ingress main',
      'NetworkPolicy main',
      'PodDisruptionBudget main',
      'Secret main-signing-keys',
      'Service main',
      'ServiceAccount main',
      'ServiceMonitor main',
    ]);
    const { endpoints } = (await namespace.get('ServiceMonitor', 'main')).spec as {
      endpoints: { targetPort: number }[];
    };
    const config = (await namespace.get('ConfigMap', 'main-config')).data?.['gateway.yaml'];
    expect(parse(config ?? '')).toMatchObject({ metrics: { port: endpoints[0]?.targetPort } });
    // Reconciled once more, by an edit that says nothing new about the children, and by another operator.
    await namespace.edit('ClaudeGateway', 'main', { metadata: { labels: { team: 'platform' } } });
    await operator.stop();
    operator = await platform.operator('operator-1');
    expect(await settled(namespace, 'main')).toEqual(children);
  }, 90_000);

  it('puts back what somebody changed or deleted by hand, and takes away what is not wanted any more', async () => {
    const namespace = await platform.namespace('drift');
    await namespace.apply(namespace.gatewayManifest('main', { ingress: { className: 'nginx' } }));
    await until(() => namespace.exists('Ingress', 'main'));
    await settled(namespace, 'main');

    await namespace.edit('Service', 'main', {
      spec: { selector: { 'app.kubernetes.io/name': 'something-else' } },
    });
    await until(async () => {
      const { selector } = (await namespace.get('Service', 'main')).spec as {
        selector: Record<string, string>;
      };
      return selector['app.kubernetes.io/name'] === 'claude-gateway';
    });
    await namespace.edit('ConfigMap', 'main-config', { data: { 'gateway.yaml': 'listen: {}' } });
    await until(async () =>
      (await namespace.get('ConfigMap', 'main-config')).data?.['gateway.yaml']?.includes('oidc:'),
    );
    // An item of a merged list, whose key is the port: the one that is applied has the same name, and another key.
    await namespace.edit('Service', 'main', { spec: { ports: [{ name: 'http', port: 9999 }] } });
    await until(async () => {
      const { ports } = (await namespace.get('Service', 'main')).spec as { ports: { port: number }[] };
      return isDeepStrictEqual(
        ports.map(({ port }) => port),
        [80],
      );
    });
    const { uid } = (await namespace.get('Deployment', 'main')).metadata;
    await namespace.delete('Deployment', 'main');
    await until(async () => {
      const found = (await namespace.list('Deployment')).find(({ metadata }) => metadata.name === 'main');
      return found !== undefined && found.metadata.uid !== uid;
    });

    await namespace.apply(namespace.gatewayManifest('main'));
    await until(async () => !(await namespace.exists('Ingress', 'main')));
    // What others made stays.
    await namespace.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'mine', namespace: namespace.name, labels: { 'app.kubernetes.io/instance': 'main' } },
      data: {},
    });
    await settled(namespace, 'main');
    expect(await namespace.exists('ConfigMap', 'mine')).toBe(true);
  }, 90_000);

  it('is scaled by kubectl, and so by a HorizontalPodAutoscaler, without a number in its spec', async () => {
    const namespace = await platform.namespace('scaled');
    await namespace.apply(namespace.gatewayManifest());
    const replicas = async (): Promise<unknown> =>
      (await namespace.exists('Deployment', 'main')) &&
      ((await namespace.get('Deployment', 'main')).spec as { replicas: number }).replicas;
    await until(async () => (await replicas()) === 2);
    await platform.kubectl('scale', 'claudegateway/main', '-n', namespace.name, '--replicas=3');
    await until(async () => (await replicas()) === 3);
  }, 90_000);

  it('leaves a foreign object in its place alone, and says so', async () => {
    const namespace = await platform.namespace('foreign');
    const ports = [{ port: 80 }];
    await namespace.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'main' }, spec: { ports } });
    await namespace.apply(namespace.gatewayManifest('main'));
    const { message } = await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'False', 'NameTaken');
    expect(message).toContain('Service "main"');
    expect((await namespace.get('Service', 'main')).metadata.labels).toBeUndefined();
    await namespace.delete('Service', 'main');
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
  }, 90_000);

  it('waits for a Secret that is missing, and rolls out another database password', async () => {
    const namespace = await platform.namespace('secrets');
    const manifest = namespace.gatewayManifest('main', {
      database: { urlSecretRef: { name: 'later', key: 'url' } },
    });
    await namespace.apply(manifest);
    const { message } = await namespace.condition(
      'ClaudeGateway',
      'main',
      'Accepted',
      'False',
      'ReferenceNotFound',
    );
    expect(message).toContain('later');
    expect(await namespace.exists('Deployment', 'main')).toBe(false);
    await namespace.apply(everybody(namespace));
    await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'False', 'GatewayNotAccepted');
    await namespace.secret('later', { url: namespace.databaseUrl });
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
    await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'False', 'NoReplicas');
    await until(() => namespace.exists('Deployment', 'main'));
    const hash = async (): Promise<unknown> =>
      templateOf(await namespace.get('Deployment', 'main')).metadata.annotations[
        'claudegateway.dev/restart-hash'
      ];
    const before = await hash();
    await namespace.secret('later', { url: `${namespace.databaseUrl}?application_name=rotated` });
    await until(async () => (await hash()) !== before);
  }, 90_000);

  it('enforces a policy on every pod, and says so; an edit and a deletion likewise', async () => {
    const namespace = await platform.namespace('enforced');
    await namespace.apply(namespace.gatewayManifest());
    await until(() => namespace.exists('Deployment', 'main'));
    const pods = [
      await platform.pod(namespace, 'main'),
      await platform.pod(namespace, 'main'),
      await platform.pod(namespace, 'main'),
    ];
    await namespace.apply(everybody(namespace));
    const enforced = await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'True');
    expect(enforced.message).toMatch(/3 of 3 replicas run/);
    const admin = pods.map((pod) => new AdminClient(() => pod.url, ADMIN_KEY));
    const amounts = async (): Promise<unknown[]> =>
      Promise.all(
        admin.map(async (client) => {
          const { data } = (await client.call('GET', '')) as { data: { amount: string }[] };
          return data.map(({ amount }) => amount);
        }),
      );
    expect(await amounts()).toEqual([['500'], ['500'], ['500']]);

    await namespace.apply(everybody(namespace, '7.50'));
    await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'True');
    expect(await amounts()).toEqual([['750'], ['750'], ['750']]);

    await namespace.delete('SpendPolicy', 'everybody');
    await until(async () => isDeepStrictEqual(await amounts(), [[], [], []]));
  }, 120_000);

  it('writes no status anew when another operator takes over', async () => {
    const namespace = await platform.namespace('takeover');
    await namespace.apply(namespace.gatewayManifest());
    await until(() => namespace.exists('Deployment', 'main'));
    await platform.pod(namespace, 'main');
    await namespace.apply(everybody(namespace));
    for (const name of ['eng', 'sales', 'contractors']) {
      const subject = { kind: 'Group', name };
      const limits = [{ period: 'Weekly', usd: '50' }];
      await namespace.apply(namespace.manifest('SpendPolicy', name, { subject, limits }));
      const settings = { permissions: { deny: ['WebFetch'] } };
      await namespace.apply(
        namespace.manifest('ManagedSettings', name, { match: { groups: [name] }, settings }),
      );
    }
    const versions = async (): Promise<Record<string, string>> => {
      const policies = [
        ...(await namespace.list('SpendPolicy')),
        ...(await namespace.list('ManagedSettings')),
      ];
      return Object.fromEntries(
        policies
          .filter(({ metadata }) => metadata.name !== 'marker')
          .map(({ kind, metadata: { name, resourceVersion } }) => [`${kind} ${name}`, resourceVersion]),
      );
    };
    for (const name of ['everybody', 'eng', 'sales', 'contractors']) {
      await namespace.condition('SpendPolicy', name, 'Enforced', 'True');
      if (name !== 'everybody') await namespace.condition('ManagedSettings', name, 'Delivered', 'True');
    }
    // What was spent shows with the next reading of the database.
    await until(async () =>
      (await namespace.list('SpendPolicy')).every(
        ({ status }) => (status as { nearest?: { spent?: string } }).nearest?.spent !== undefined,
      ),
    );
    const before = await until(async () => {
      const found = await versions();
      await sleep(1_000);
      return isDeepStrictEqual(found, await versions()) ? found : undefined;
    });
    expect(Object.keys(before)).toHaveLength(7);

    await operator.stop();
    operator = await platform.operator('operator-2');
    // By the time that it has enforced something new it has been through everything.
    const subject = { kind: 'User', name: 'alice@corp.example' };
    const limits = [{ period: 'Daily', usd: '1' }];
    await namespace.apply(namespace.manifest('SpendPolicy', 'marker', { subject, limits }));
    await namespace.condition('SpendPolicy', 'marker', 'Enforced', 'True');
    await sleep(1_000);
    expect(await versions()).toEqual(before);
  }, 120_000);
});
