import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { describeWithApiServer } from '../testbed/requirements.ts';
import { Platform, until, type Namespace } from './platform.ts';

/** No kubelet and no controllers run here: what they would write, the tests write. */
describeWithApiServer()('what pods say of themselves', () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = await Platform.start();
    await platform.operator();
  }, 120_000);
  afterAll(() => platform?.stop());

  async function writePod(namespace: Namespace, name: string, status: object): Promise<void> {
    await namespace.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        labels: {
          'app.kubernetes.io/name': 'claude-gateway',
          'app.kubernetes.io/component': 'gateway',
          'app.kubernetes.io/instance': 'main',
        },
      },
      spec: { containers: [{ name: 'gateway', image: 'registry.example/claude-gateway' }] },
    });
    await namespace.edit('Pod', `${name}/status`, { status });
  }

  const ready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };

  async function deployed(name: string): Promise<Namespace> {
    const namespace = await platform.namespace(name);
    await namespace.apply(namespace.gatewayManifest());
    await until(() => namespace.exists('Deployment', 'main'));
    return namespace;
  }

  it('a policy is not enforced where a ready pod is not heard of, and is again once that pod is gone', async () => {
    const namespace = await deployed('silent');
    await platform.pod(namespace, 'main');
    const limits = [{ period: 'Daily', usd: '5.00' }];
    await namespace.apply(
      namespace.manifest('SpendPolicy', 'everybody', { subject: { kind: 'Organization' }, limits }),
    );
    await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'True');
    await writePod(namespace, 'main-cut-off', ready);
    const { message } = await namespace.condition(
      'SpendPolicy',
      'everybody',
      'Enforced',
      'False',
      'ReplicasSilent',
    );
    expect(message).toMatch(/main-cut-off/);
    await namespace.condition('SpendPolicy', 'everybody', 'Ready', 'False');
    await namespace.condition('SpendPolicy', 'everybody', 'Reconciling', 'True');
    await namespace.edit('Pod', 'main-cut-off/status', {
      status: { conditions: [{ type: 'Ready', status: 'False' }] },
    });
    await namespace.condition('SpendPolicy', 'everybody', 'Enforced', 'True');
    const { status } = await namespace.get('SpendPolicy', 'everybody');
    expect(status?.conditions?.map(({ type }) => type)).toEqual(['Accepted', 'Enforced', 'Ready']);
  }, 120_000);

  it('a rollout that stands still says what its pods ended with, while the old ones serve', async () => {
    const namespace = await deployed('stuck');
    const { generation = 1 } = (await namespace.get('Deployment', 'main')).metadata;
    const counts = { observedGeneration: generation, replicas: 2, readyReplicas: 2, availableReplicas: 2 };
    await namespace.edit('Deployment', 'main/status', { status: { ...counts, updatedReplicas: 2 } });
    await namespace.condition('ClaudeGateway', 'main', 'Ready', 'True', 'Ready');
    await namespace.edit('Deployment', 'main/status', {
      status: { ...counts, replicas: 3, updatedReplicas: 1 },
    });
    await namespace.condition('ClaudeGateway', 'main', 'Ready', 'True', 'PodsStarting');
    const message = 'claude-gateway: oidc[0].issuer: https://wrong.example answers 404';
    await writePod(namespace, 'main-new', {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'False' }],
      containerStatuses: [
        {
          name: 'gateway',
          image: 'x',
          imageID: '',
          ready: false,
          restartCount: 2,
          state: { waiting: { reason: 'CrashLoopBackOff' } },
          lastState: { terminated: { exitCode: 1, message } },
        },
      ],
    });
    const stuck = await namespace.condition('ClaudeGateway', 'main', 'Ready', 'True', 'RolloutStuck');
    expect(stuck.message).toContain(message);
    await namespace.condition('ClaudeGateway', 'main', 'Stalled', 'True', 'RolloutStuck');
    await namespace.edit('Deployment', 'main/status', { status: { ...counts, updatedReplicas: 2 } });
    await namespace.condition('ClaudeGateway', 'main', 'Ready', 'True', 'Ready');
    const events = (await namespace.list('Event')).map(
      (event) => (event as unknown as { type: string; reason: string }).reason,
    );
    expect(events).toContain('RolloutStuck');
    expect(events).not.toContain('NotEnoughReplicas');
  }, 120_000);
});
