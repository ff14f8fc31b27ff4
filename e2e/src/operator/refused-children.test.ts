import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { describeWithApiServer } from '../testbed/requirements.ts';
import type { OperatorProcess } from './operator-process.ts';
import { Platform, until, type Namespace } from './platform.ts';

describeWithApiServer()('children that the API server refuses', () => {
  let platform: Platform;
  let operator: OperatorProcess;

  beforeAll(async () => {
    platform = await Platform.start();
    operator = await platform.operator();
  }, 120_000);
  afterAll(() => platform?.stop());

  const events = async (namespace: Namespace): Promise<string[]> =>
    (await namespace.list('Event'))
      .map((event) => event as unknown as { type: string; reason: string; note: string })
      .filter(({ reason }) => reason === 'ChildRefused')
      .map(({ type, note }) => `${type}: ${note}`);

  const withContainer = (namespace: Namespace, more: object) =>
    namespace.gatewayManifest('main', {
      podTemplate: {
        spec: {
          containers: [
            { name: 'gateway', env: [{ name: 'CLAUDE_GATEWAY_ALLOW_LOOPBACK', value: '1' }], ...more },
          ],
        },
      },
    });

  it.each([
    ['quantity', { resources: { requests: { cpu: 'plenty' } } }, /quantities must match/],
    ['field', { imagePullPolicy: 'Sometimes' }, /containers\[0\]\.imagePullPolicy: Unsupported value/],
    ['type', { terminationMessagePath: 7 }, /terminationMessagePath: expected string/],
  ])(
    'are named with what is wrong: a %s',
    async (what, container, detail) => {
      const namespace = await platform.namespace(`refused-${what}`);
      await namespace.apply(withContainer(namespace, container));
      const { message } = await namespace.condition(
        'ClaudeGateway',
        'main',
        'Accepted',
        'False',
        'ChildRefused',
      );
      expect(message).toMatch(/^The API server refuses Deployment main: /);
      expect(message).toMatch(detail);
      expect(message).toMatch(/Correct spec\.podTemplate/);
      await until(async () => (await events(namespace)).length > 0);
      expect(await events(namespace)).toEqual([`Warning: ${message}`.slice(0, 1024)]);
      // What is not concerned is made all the same.
      expect(await namespace.exists('Service', 'main')).toBe(true);
      await namespace.apply(withContainer(namespace, {}));
      await namespace.condition('ClaudeGateway', 'main', 'Accepted', 'True');
      await until(() => namespace.exists('Deployment', 'main'));
      expect(operator.output).not.toMatch(/API server is away|does not answer|\\n {4}at /);
    },
    90_000,
  );

  it('are named with the quota that forbids them, and hold up nothing else', async () => {
    const namespace = await platform.namespace('refused-quota');
    const quota = `/api/v1/namespaces/${namespace.name}/resourcequotas/few`;
    const spec = { hard: { services: '0' } };
    const document = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'few' } };
    expect((await platform.server.apply(quota, { ...document, spec })).status).toBeLessThan(300);
    // As the controller of quotas would, which does not run here.
    const status = { hard: spec.hard, used: { services: '0' } };
    expect((await platform.server.apply(`${quota}/status`, { ...document, status })).status).toBeLessThan(
      300,
    );
    await namespace.apply(namespace.gatewayManifest());
    const { message } = await namespace.condition(
      'ClaudeGateway',
      'main',
      'Accepted',
      'False',
      'ChildRefused',
    );
    expect(message).toMatch(/refuses Service main: .*exceeded quota: few/);
    expect(message).toMatch(/Change what forbids it/);
    expect(message).not.toMatch(/grant the service account/);
    await until(() => namespace.exists('Deployment', 'main'));
  }, 90_000);
});
