import { describe, expect, it } from '@jest/globals';
import { deployment, RESTART_ANNOTATION } from './deployment.ts';
import { gatewayWith, inputOf, inputWithFiles, specOf } from './testing/inputs.ts';

interface Container {
  name: string;
  ports: { name: string; containerPort: number }[];
  volumeMounts: { name: string; mountPath: string }[];
  readinessProbe: { httpGet: { path: string; scheme: string } };
}
interface Spec {
  replicas?: number;
  selector: { matchLabels: Record<string, string> };
  template: {
    metadata: { labels: Record<string, string>; annotations: Record<string, string> };
    spec: {
      terminationGracePeriodSeconds: number;
      serviceAccountName: string;
      containers: [Container, ...Container[]];
      volumes: { name: string; secret?: { secretName: string; items?: { key: string }[] } }[];
    };
  };
}

const of = (spec: object, more = {}): Spec =>
  specOf(deployment(inputOf(gatewayWith(spec), more))) as unknown as Spec;

describe('deployment', () => {
  it('has two pods, as many as are asked for, or as many as the autoscaler chooses', () => {
    expect(of({}).replicas).toBe(2);
    expect(of({ replicas: 0 }).replicas).toBe(0);
    expect(of({ autoscaling: { maxReplicas: 5 } })).not.toHaveProperty('replicas');
  });

  it('gives streams their time', () => {
    expect(of({}).template.spec.terminationGracePeriodSeconds).toBe(5 + 600 + 30);
    const long = of({ shutdown: { delay: '10s', grace: '1h30m' } });
    expect(long.template.spec.terminationGracePeriodSeconds).toBe(10 + 5400 + 30);
  });

  it('replaces the pods when the hash changes, and says so nowhere else', () => {
    const [one, other] = [of({}, { restartHash: 'a' }), of({}, { restartHash: 'b' })];
    expect(one.template.metadata.annotations[RESTART_ANNOTATION]).toBe('a');
    other.template.metadata.annotations[RESTART_ANNOTATION] = 'a';
    expect(other).toEqual(one);
  });

  it('keeps what it selects by, whatever podTemplate says', () => {
    const { selector, template } = of({
      podTemplate: {
        metadata: {
          labels: {
            'app.kubernetes.io/instance': 'other',
            'app.kubernetes.io/part-of': 'platform',
            team: 'a',
          },
          annotations: { [RESTART_ANNOTATION]: 'mine', note: 'yes' },
        },
      },
    });
    expect(template.metadata.labels).toMatchObject({
      ...selector.matchLabels,
      'app.kubernetes.io/part-of': 'platform',
      team: 'a',
    });
    expect(selector.matchLabels['app.kubernetes.io/instance']).toBe('main');
    expect(template.metadata.annotations).toEqual({ [RESTART_ANNOTATION]: '0123abcd', note: 'yes' });
  });

  it('lets podTemplate change the gateway and add to it', () => {
    const { containers, serviceAccountName } = of({
      podTemplate: { spec: { serviceAccountName: 'mine', containers: [{ name: 'proxy', image: 'p' }] } },
    }).template.spec;
    expect(containers.map(({ name }) => name)).toEqual(['gateway', 'proxy']);
    expect(serviceAccountName).toBe('mine');
  });

  it('asks for readiness in the protocol that it speaks', () => {
    const [{ readinessProbe }] = of({}).template.spec.containers;
    expect(readinessProbe.httpGet).toMatchObject({ path: '/readyz', scheme: 'HTTP' });
    const [tls] = of({ listen: { port: 8443, tls: { secretName: 'tls' } } }).template.spec.containers;
    expect(tls.readinessProbe.httpGet).toMatchObject({ path: '/readyz', scheme: 'HTTPS' });
    expect(tls.ports).toMatchObject([{ name: 'http', containerPort: 8443 }, { name: 'metrics' }]);
  });

  it('has a port for metrics, which is never the port of everything else', () => {
    const portsOf = (spec: object) => of(spec).template.spec.containers[0].ports;
    expect(portsOf({})).toMatchObject([{ name: 'http' }, { name: 'metrics', containerPort: 9464 }]);
    expect(portsOf({ listen: { port: 9464 } })).toMatchObject([
      { name: 'http', containerPort: 9464 },
      { name: 'metrics', containerPort: 9465 },
    ]);
  });

  it('mounts every file at its path, and of Secrets of others only what is asked for', () => {
    const input = inputWithFiles(gatewayWith());
    const { containers, volumes } = (specOf(deployment(input)) as unknown as Spec).template.spec;
    for (const { path, name, key } of input.rendered.files) {
      const mounts = containers[0].volumeMounts.filter(({ mountPath }) => `${mountPath}/${key}` === path);
      expect(mounts).toHaveLength(1);
      const { secret } = volumes.find((volume) => volume.name === mounts[0]?.name) ?? {};
      expect(secret?.secretName).toBe(name);
      const own = name === 'main-signing-keys';
      expect(secret?.items?.some((item) => item.key === key)).toBe(own ? undefined : true);
    }
    expect(input.rendered.files.length).toBeGreaterThan(3);
  });

  it('gives volumes of long names names of their own', () => {
    const long = 'a.'.repeat(100);
    const files = ['x', 'y'].map((last) => ({
      kind: 'Secret' as const,
      name: `${long}${last}`,
      key: 'k',
      path: `/etc/claude-gateway/refs/secret/${long}${last}/k`,
      byPath: false,
    }));
    const input = inputOf(gatewayWith());
    const spec = specOf(deployment({ ...input, rendered: { ...input.rendered, files } })) as unknown as Spec;
    const names = spec.template.spec.volumes.map(({ name }) => name);
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  });
});
