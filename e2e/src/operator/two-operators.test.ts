import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeWithApiServer } from '../testbed/requirements.ts';
import type { OperatorProcess } from './operator-process.ts';
import { Platform, templateOf, until, type Namespace } from './platform.ts';

const CHILDREN = ['Deployment', 'ConfigMap', 'Service', 'ServiceAccount', 'NetworkPolicy', 'ClaudeGateway'];
/** The images that the two give to gateways: what they would fight about. */
const IMAGES = { a: 'registry.example/claude-gateway:a', b: 'registry.example/claude-gateway:b' };

describeWithApiServer()('two operators that watch one namespace', () => {
  let platform: Platform;
  const running: OperatorProcess[] = [];

  beforeAll(async () => {
    platform = await Platform.start();
  }, 120_000);
  afterAll(async () => {
    await platform?.stop();
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((operator) => operator.stop('SIGKILL')));
  });

  /** A process of release `a` or `b`, each with leader election of its own. */
  async function operator(release: 'a' | 'b', pod: string, namespaces: string): Promise<OperatorProcess> {
    const started = await platform.operator(pod, {
      OPERATOR_NAME: release,
      WATCH_NAMESPACES: namespaces,
      LEADER_ELECTION: 'true',
      GATEWAY_IMAGE: IMAGES[release],
    });
    running.push(started);
    return started;
  }

  const versions = async (namespace: Namespace): Promise<string> =>
    JSON.stringify(
      (await Promise.all(CHILDREN.map((kind) => namespace.list(kind))))
        .flat()
        .map(({ metadata: { uid, resourceVersion } }) => [uid, resourceVersion]),
    );
  const holder = async (namespace: Namespace): Promise<unknown> =>
    ((await namespace.get('Lease', 'claudegateway-namespace')).spec as { holderIdentity?: string })
      .holderIdentity;
  const image = async (namespace: Namespace): Promise<unknown> =>
    (templateOf(await namespace.get('Deployment', 'main')).spec.containers[0] as { image?: string }).image;
  const standingBack = ({ lines }: OperatorProcess) =>
    lines.filter(({ msg }) => /stands back/.test(String(msg)));

  // The second watches the whole cluster in one case: sets of namespaces overlap without being the same.
  it.each([
    ['the same namespaces', 'same', 'same'],
    ['one namespace and the cluster', 'overlap', ''],
  ])(
    'lets one of them work, and the other when that one is gone: %s',
    async (_, name, others) => {
      const namespace = await platform.namespace(name);
      await namespace.apply(namespace.gatewayManifest());
      const first = await operator('a', `${name}-a`, name);
      await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
      expect(await holder(namespace)).toBe('default/a');

      const second = await operator('b', `${name}-b`, others);
      await until(async () => Promise.resolve(standingBack(second).length > 0));
      let before = await versions(namespace);
      await until(async () => {
        const [last, now] = [before, (await sleep(1000), await versions(namespace))];
        before = now;
        return last === now;
      });
      await sleep(5000);
      expect(await versions(namespace)).toBe(before);
      expect(await image(namespace)).toBe(IMAGES.a);
      expect(standingBack(second)).toHaveLength(1);
      expect(standingBack(second)[0]).toMatchObject({ namespace: name, holder: 'default/a' });
      const told = await until(async () =>
        (await namespace.list('Event')).find((event) => Reflect.get(event, 'reason') === 'OtherOperator'),
      );
      expect(Reflect.get(told, 'note')).toMatch(/operator default\/a works.*default\/b stands back/);

      await first.stop('SIGKILL');
      await until(async () => (await image(namespace)) === IMAGES.b, undefined, 180_000);
      expect(await holder(namespace)).toBe('default/b');
      // The one that comes back finds the namespace taken.
      const back = await operator('a', `${name}-a2`, name);
      await until(async () => Promise.resolve(standingBack(back).length > 0), undefined, 120_000);
      expect(await image(namespace)).toBe(IMAGES.b);
    },
    480_000,
  );

  it('keeps a namespace with its release when another replica leads', async () => {
    const namespace = await platform.namespace('replicas');
    await namespace.apply(namespace.gatewayManifest());
    const first = await operator('a', 'replicas-0', 'replicas');
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
    const next = await operator('a', 'replicas-1', 'replicas');
    await first.stop();
    await namespace.apply(namespace.gatewayManifest('later'));
    await namespace.condition('ClaudeGateway', 'later', 'Accepted', 'True');
    expect(standingBack(next)).toEqual([]);
    const { spec } = await namespace.get('Lease', 'claudegateway-namespace');
    expect(spec).toMatchObject({ holderIdentity: 'default/a', leaseTransitions: 0 });
  }, 180_000);

  it('works without a claim where the API server refuses it', async () => {
    const namespace = await platform.namespace('refused');
    const quota = {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'no-leases', namespace: 'refused' },
      spec: { hard: { 'count/leases.coordination.k8s.io': '0' } },
    };
    const path = '/api/v1/namespaces/refused/resourcequotas/no-leases';
    expect((await platform.server.apply(path, quota)).status).toBeLessThan(300);
    await platform.server.call(
      'PATCH',
      `${path}/status`,
      {
        status: {
          hard: quota.spec.hard,
          used: { 'count/leases.coordination.k8s.io': '0' },
        },
      },
      'application/merge-patch+json',
    );
    await namespace.apply(namespace.gatewayManifest());
    const only = await operator('a', 'refused-a', 'refused');
    await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
    expect(only.output).toContain('works in namespace refused without a claim');
    expect(await namespace.exists('Lease', 'claudegateway-namespace')).toBe(false);
  }, 180_000);
});
