import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import type { ClaudeGateway } from '@claude-gateway/crds';
import { FIELD_MANAGER } from '../kinds.ts';
import { KubeClient } from '../kube/client.ts';
import type { KubeObject } from '../kube/objects.ts';
import { configOf, describeWithApiServer } from '../kube/testing/api-server.ts';
import { deployment } from './deployment.ts';
import { REPLICAS_MANAGER, replicasHandover } from './replicas.ts';
import { gatewayWith, inputOf } from './testing/inputs.ts';
import { DEPLOYMENTS } from './types.ts';

interface Deployment extends KubeObject {
  spec: { replicas?: number };
}

const fixed = gatewayWith({ replicas: 5 });
const autoscaled = gatewayWith({ autoscaling: { maxReplicas: 9 } });
const made = (gateway: ClaudeGateway): Deployment => deployment(inputOf(gateway)).object as Deployment;

describe('replicasHandover', () => {
  it.each([
    ['there is no Deployment yet', autoscaled, undefined],
    ['there is no autoscaling', fixed, made(fixed)],
    ['autoscaling goes on', autoscaled, { ...made(autoscaled), spec: { replicas: 4 } }],
    ['it is not ours', autoscaled, { ...made(fixed), metadata: { name: 'main' } }],
  ])('has nothing to hand over when %s', (_, gateway, live) => {
    expect(replicasHandover(gateway, live)).toBeUndefined();
  });
});

describeWithApiServer()('replicasHandover at a real API server', () => {
  let server: ApiServer;
  let client: KubeClient;
  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  const apply = (object: KubeObject, manager = FIELD_MANAGER): Promise<Deployment> =>
    client.apply<Deployment>(
      DEPLOYMENTS,
      { ...object, metadata: { ...object.metadata, namespace: 'default' } },
      manager,
    );
  let live: Deployment;
  beforeEach(async () => {
    await client.delete(DEPLOYMENTS, 'default', 'main').catch(() => undefined);
    live = await apply(made(fixed));
  });

  it('is needed: one pod would be left', async () => {
    expect(live.spec.replicas).toBe(5);
    expect((await apply(made(autoscaled))).spec.replicas).toBe(1);
  });

  it('keeps the pods when autoscaling is switched on, lets it choose, and takes them back', async () => {
    await apply(replicasHandover(autoscaled, live) as KubeObject, REPLICAS_MANAGER);
    live = await apply(made(autoscaled));
    expect(live.spec.replicas).toBe(5);
    expect(replicasHandover(autoscaled, live)).toBeUndefined();

    await client.mergePatch(DEPLOYMENTS, 'default', 'main', { spec: { replicas: 7 } });
    live = await apply(made(autoscaled));
    expect(live.spec.replicas).toBe(7);

    live = await apply(made(fixed));
    expect(live.spec.replicas).toBe(5);
    await apply(replicasHandover(autoscaled, live) as KubeObject, REPLICAS_MANAGER);
    expect((await apply(made(autoscaled))).spec.replicas).toBe(5);
  });

  it('makes no Deployment where there is none any more', async () => {
    const handover = replicasHandover(autoscaled, live) as KubeObject;
    await client.delete(DEPLOYMENTS, 'default', 'main');
    await expect(apply(handover, REPLICAS_MANAGER)).rejects.toThrow();
  });
});
