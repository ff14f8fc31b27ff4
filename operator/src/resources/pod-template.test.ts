import { describe, expect, it } from '@jest/globals';
import { mergePodSpec } from './pod-template.ts';

const base = {
  serviceAccountName: 'main',
  securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  topologySpreadConstraints: [{ topologyKey: 'zone' }],
  tolerations: [{ key: 'a' }],
  containers: [
    {
      name: 'gateway',
      image: 'i',
      args: ['--config', 'x'],
      ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
      env: [{ name: 'A', value: '1' }],
      readinessProbe: { httpGet: { path: '/readyz' }, periodSeconds: 5 },
      resources: { requests: { cpu: '250m', memory: '256Mi' } },
      volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
    },
  ],
  volumes: [{ name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }],
};

/** With a part of the container changed. */
const gateway = (part: object) =>
  (mergePodSpec(base, { containers: [{ name: 'gateway', ...part }] }) as typeof base).containers[0];

describe('mergePodSpec', () => {
  it('leaves what nothing is said about', () => {
    expect(mergePodSpec(base, {})).toEqual(base);
    expect(gateway({})).toEqual(base.containers[0]);
  });

  it('merges maps by field, and removes what is null', () => {
    expect(mergePodSpec(base, { securityContext: { runAsUser: 1000, runAsNonRoot: null } })).toMatchObject({
      securityContext: { runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(
      mergePodSpec(base, { securityContext: { runAsNonRoot: null } })['securityContext'],
    ).not.toHaveProperty('runAsNonRoot');
    expect(mergePodSpec(base, { serviceAccountName: null, nodeSelector: null })).not.toHaveProperty(
      'nodeSelector',
    );
    expect(gateway({ resources: { requests: { cpu: '1' }, limits: { memory: '1Gi' } } })?.resources).toEqual({
      requests: { cpu: '1', memory: '256Mi' },
      limits: { memory: '1Gi' },
    });
  });

  it('merges containers by name, and puts sidecars behind', () => {
    const merged = mergePodSpec(base, {
      containers: [
        { name: 'sidecar', image: 's' },
        { name: 'gateway', image: 'mine' },
      ],
      initContainers: [{ name: 'b' }, { name: 'a' }],
    }) as unknown as { containers: { name: string; image: string }[]; initContainers: object[] };
    expect(merged.containers.map(({ name, image }) => [name, image])).toEqual([
      ['gateway', 'mine'],
      ['sidecar', 's'],
    ]);
    expect(merged.initContainers).toEqual([{ name: 'b' }, { name: 'a' }]);
  });

  it('merges the named lists of a container', () => {
    expect(
      gateway({
        env: [
          { name: 'B', value: '2' },
          { name: 'A', value: '3' },
        ],
      })?.env,
    ).toEqual([
      { name: 'A', value: '3' },
      { name: 'B', value: '2' },
    ]);
    expect(gateway({ volumeMounts: [{ name: 'mine', mountPath: '/tmp' }] })?.volumeMounts).toEqual([
      { name: 'mine', mountPath: '/tmp' },
    ]);
    expect(gateway({ ports: [{ containerPort: 8080, hostPort: 80 }, { containerPort: 9 }] })?.ports).toEqual([
      { name: 'http', containerPort: 8080, protocol: 'TCP', hostPort: 80 },
      { containerPort: 9 },
    ]);
  });

  it('replaces other lists, and appends tolerations', () => {
    expect(gateway({ args: ['--help'] })?.args).toEqual(['--help']);
    expect(mergePodSpec(base, { topologySpreadConstraints: [], tolerations: [{ key: 'b' }] })).toMatchObject({
      topologySpreadConstraints: [],
      tolerations: [{ key: 'a' }, { key: 'b' }],
    });
  });

  it('replaces one of several alternatives', () => {
    expect(gateway({ env: [{ name: 'A', valueFrom: { secretKeyRef: {} } }] })?.env).toEqual([
      { name: 'A', valueFrom: { secretKeyRef: {} } },
    ]);
    expect(gateway({ readinessProbe: { tcpSocket: { port: 1 } } })?.readinessProbe).toEqual({
      periodSeconds: 5,
      tcpSocket: { port: 1 },
    });
    const volumes = (volume: object) =>
      mergePodSpec(base, { volumes: [{ name: 'tmp', ...volume }] })['volumes'];
    expect(volumes({ persistentVolumeClaim: { claimName: 'c' } })).toEqual([
      { name: 'tmp', persistentVolumeClaim: { claimName: 'c' } },
    ]);
    expect(volumes({ emptyDir: { medium: 'Memory' } })).toEqual([
      { name: 'tmp', emptyDir: { sizeLimit: '64Mi', medium: 'Memory' } },
    ]);
  });

  it('does not change what it is given', () => {
    const before = structuredClone(base);
    const merged = mergePodSpec(
      base,
      JSON.parse('{"__proto__": {"polluted": true}, "hostNetwork": true}') as object as never,
    );
    expect(base).toEqual(before);
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect('polluted' in {}).toBe(false);
  });
});
