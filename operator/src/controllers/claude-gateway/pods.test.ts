import { describe, expect, it } from '@jest/globals';
import { gatewayOfPod, podFacts, type PodObject } from './pods.ts';

const pod = (status: object, metadata: object = {}): PodObject => ({
  metadata: {
    name: 'main-x',
    namespace: 'claude',
    labels: { 'app.kubernetes.io/instance': 'main' },
    ...metadata,
  },
  status,
});

const container = (more: object, ready = 'False', since = '2026-11-23T12:00:00Z'): PodObject =>
  pod({
    phase: 'Running',
    conditions: [{ type: 'Ready', status: ready, lastTransitionTime: since }],
    containerStatuses: [{ name: 'gateway', restartCount: 0, ...more }],
  });

const problem = (object: PodObject): string | undefined => podFacts(object)?.problem;
const running = { state: { running: { startedAt: '2026-11-23T12:00:05Z' } } };

describe('a pod', () => {
  it('belongs to the gateway that its labels name', () => {
    expect(gatewayOfPod(pod({}))).toEqual(['claude/main']);
    expect(gatewayOfPod(pod({}, { labels: {} }))).toEqual([]);
  });

  it('does not count on its way out', () => {
    expect(podFacts(pod({ phase: 'Failed' }))).toBeUndefined();
    expect(podFacts(pod({}, { deletionTimestamp: '2026-11-23T12:00:00Z' }))).toBeUndefined();
  });

  it('has no problem while it starts, nor when it is ready', () => {
    expect(podFacts(container(running, 'True'))).toEqual({ name: 'main-x', ready: true, problem: undefined });
    expect(problem(pod({ phase: 'Pending' }))).toBeUndefined();
    expect(problem(container({ state: { waiting: { reason: 'ContainerCreating' } } }))).toBeUndefined();
    expect(problem(container(running))).toBeUndefined();
  });

  it('says what it ended with, in the same words whether it waits, runs again or has just ended', () => {
    const ended = { exitCode: 1, message: 'starting\nclaude-gateway: oidc[0].issuer: 404\n' };
    const said = 'the gateway exits with code 1: starting claude-gateway: oidc[0].issuer: 404';
    const lastState = { terminated: ended };
    for (const object of [
      container({ state: { terminated: ended } }),
      container({ state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState, restartCount: 3 }),
      container({ ...running, lastState, restartCount: 4 }),
    ])
      expect(problem(object)).toBe(said);
  });

  it.each([
    [{ state: { waiting: { reason: 'ErrImagePull' } } }, /image cannot be pulled/],
    [{ state: { waiting: { reason: 'ImagePullBackOff' } } }, /image cannot be pulled/],
    [
      { state: { waiting: { reason: 'CreateContainerConfigError', message: 'secret "x" not found' } } },
      /^CreateContainerConfigError: secret "x" not found$/,
    ],
    [{ lastState: { terminated: { reason: 'OOMKilled' } }, restartCount: 1 }, /runs out of memory/],
  ])('says why it does not start: %j', (more, message) => {
    expect(problem(container(more))).toMatch(message);
  });

  it('has stopped to be ready when it once was', () => {
    expect(problem(container(running, 'False', '2026-11-23T12:30:00Z'))).toMatch(/readiness probe/);
  });
});
