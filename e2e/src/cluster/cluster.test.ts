import { request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startCluster, type Cluster } from './cluster.ts';
import { describeWithCluster } from './requirements.ts';

const IMAGE = process.env['CLAUDE_GATEWAY_IMAGE'] ?? '';
const NAMESPACE = 'cluster-test';
const HOSTS = { ingress: 'ingress.example.test', route: 'route.example.test' };

/** Answers with the name of its pod. */
const SERVER = `require('node:http').createServer((_, answer) => answer.end(process.env.HOSTNAME)).listen(8080);
process.on('SIGTERM', () => process.exit(0));`;

const restricted = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  runAsUser: 65532,
  readOnlyRootFilesystem: true,
  seccompProfile: { type: 'RuntimeDefault' },
};

function container(script: string): Record<string, unknown> {
  const command = ['node', '--input-type=commonjs', '--eval', script];
  return {
    name: 'main',
    image: IMAGE,
    imagePullPolicy: 'IfNotPresent',
    command,
    securityContext: restricted,
  };
}

function objects(gateway: { namespace: string; name: string }, classes: { ingress: string }): unknown[] {
  const metadata = { name: 'web', namespace: NAMESPACE };
  const labels = { app: 'web' };
  const backend = { service: { name: 'web', port: { number: 80 } } };
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: labels },
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            topologySpreadConstraints: [spread],
            containers: [
              {
                ...container(SERVER),
                ports: [{ containerPort: 8080 }],
                readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 },
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata,
      spec: {
        ingressClassName: classes.ingress,
        rules: [{ host: HOSTS.ingress, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
      },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata,
      spec: {
        parentRefs: [gateway],
        hostnames: [HOSTS.route],
        rules: [{ backendRefs: [{ name: 'web', port: 80 }] }],
      },
    },
  ];
}

describeWithCluster()('a cluster of the end-to-end tests', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster();
    await cluster.loadImage(IMAGE);
    const { gateway, ingressClass } = await cluster.ingress();
    const items = objects(gateway, { ingress: ingressClass });
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    await cluster.kubectl(['-n', NAMESPACE, 'rollout', 'status', 'deployment/web', '--timeout=90s']);
  }, 300_000);

  afterAll(async () => {
    if (cluster === undefined) return;
    await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=60s']);
    await cluster.stop();
  }, 120_000);

  /** One request to Envoy, under this name. */
  async function get(host: string): Promise<{ status: number | undefined; body: string }> {
    const { address, port } = await cluster.ingress();
    return new Promise((resolve, reject) => {
      httpRequest({ host: address, port, headers: { host }, agent: false }, (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        answer.once('end', () => resolve({ status: answer.statusCode, body }));
      })
        .once('error', reject)
        .end();
    });
  }

  /** Envoy learns of a new route within moments; before the first one it does not even listen. */
  async function podsBehind(host: string): Promise<Set<string>> {
    const pods = new Set<string>();
    for (let tries = 0; tries < 150 && pods.size < 2; tries++) {
      const answer = await get(host).catch(() => undefined);
      if (answer?.status === 200) pods.add(answer.body);
      else await sleep(200);
    }
    return pods;
  }

  async function podNames(): Promise<Set<string>> {
    const args = [
      '-n',
      NAMESPACE,
      'get',
      'pods',
      '-l',
      'app=web',
      '-o',
      'jsonpath={.items[*].metadata.name}',
    ];
    return new Set((await cluster.kubectl(args)).split(' '));
  }

  it('reaches both pods from this machine through an Ingress', async () => {
    expect(await podsBehind(HOSTS.ingress)).toEqual(await podNames());
  }, 60_000);

  it('reaches both pods from this machine through an HTTPRoute', async () => {
    expect(await podsBehind(HOSTS.route)).toEqual(await podNames());
  }, 60_000);

  it('answers a name that nobody routes with 404', async () => {
    await podsBehind(HOSTS.ingress);
    expect((await get('nobody.example.test')).status).toBe(404);
  }, 60_000);

  it('lets a pod reach a Service by its name', async () => {
    const script = `fetch('http://web.${NAMESPACE}.svc.cluster.local').then((answer) => answer.text()).then(console.log)`;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'client', namespace: NAMESPACE },
      spec: { restartPolicy: 'Never', containers: [container(script)] },
    };
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(pod));
    const succeeded = '--for=jsonpath={.status.phase}=Succeeded';
    await cluster.kubectl(['-n', NAMESPACE, 'wait', succeeded, 'pod/client', '--timeout=45s']);
    const said = (await cluster.kubectl(['-n', NAMESPACE, 'logs', 'client'])).trim();
    expect([...(await podNames())]).toContain(said);
  }, 60_000);

  it('refuses a pod that the restricted pod security standard forbids', async () => {
    const spec = { containers: [{ name: 'main', image: IMAGE, securityContext: { privileged: true } }] };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'bad', namespace: NAMESPACE }, spec };
    await expect(cluster.kubectl(['apply', '-f', '-'], JSON.stringify(pod))).rejects.toThrow(
      /violates PodSecurity/,
    );
  });
});
