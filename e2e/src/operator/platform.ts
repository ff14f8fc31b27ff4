import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KINDS } from '@claude-gateway/crds';
import {
  findKubeProgram,
  freePort,
  startIdentityProvider,
  startMessagesUpstream,
  startPostgres,
  type RunningIdentityProvider,
  type RunningPostgres,
} from '@claude-gateway/dev';
import { parse } from 'yaml';
import { GatewayProcess } from '../harness/gateway-process.ts';
import { TestApiServer, type KubeAnswer } from '../testbed/api-server.ts';
import { OperatorProcess } from './operator-process.ts';

const DEFINITIONS = new URL('../../../crds/generated/', import.meta.url);

/** An object of the API, as far as tests look at it. */
export interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly finalizers?: readonly string[];
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: unknown;
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly [field: string]: unknown;
  };
  readonly data?: Readonly<Record<string, string>>;
}

/** What tests apply. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export interface Condition {
  readonly observedGeneration?: number;
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** Kinds that tests speak of, and where they live. */
const PATHS: Readonly<Record<string, string>> = {
  ConfigMap: '/api/v1/namespaces/NS/configmaps',
  Secret: '/api/v1/namespaces/NS/secrets',
  Service: '/api/v1/namespaces/NS/services',
  ServiceAccount: '/api/v1/namespaces/NS/serviceaccounts',
  Pod: '/api/v1/namespaces/NS/pods',
  Deployment: '/apis/apps/v1/namespaces/NS/deployments',
  Ingress: '/apis/networking.k8s.io/v1/namespaces/NS/ingresses',
  NetworkPolicy: '/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies',
  HorizontalPodAutoscaler: '/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers',
  PodDisruptionBudget: '/apis/policy/v1/namespaces/NS/poddisruptionbudgets',
  ServiceMonitor: '/apis/monitoring.coreos.com/v1/namespaces/NS/servicemonitors',
  Lease: '/apis/coordination.k8s.io/v1/namespaces/NS/leases',
  Event: '/apis/events.k8s.io/v1/namespaces/NS/events',
  ...Object.fromEntries(
    KINDS.map(({ kind, plural }) => [kind, `/apis/claudegateway.dev/v1alpha1/namespaces/NS/${plural}`]),
  ),
};

/** A Kubernetes API without nodes, a database server, an identity provider and an upstream: all real, all on loopback. */
export class Platform {
  readonly server: TestApiServer;
  readonly postgres: RunningPostgres;
  readonly identityProvider: RunningIdentityProvider;
  readonly upstream: Awaited<ReturnType<typeof startMessagesUpstream>>;
  readonly kubeconfig: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'platform-'));
  readonly #operators: OperatorProcess[] = [];
  readonly #pods: GatewayProcess[] = [];

  private constructor(
    server: TestApiServer,
    postgres: RunningPostgres,
    identityProvider: RunningIdentityProvider,
    upstream: Awaited<ReturnType<typeof startMessagesUpstream>>,
  ) {
    this.server = server;
    this.postgres = postgres;
    this.identityProvider = identityProvider;
    this.upstream = upstream;
    this.kubeconfig = server.kubeconfigFile();
  }

  static async start(): Promise<Platform> {
    const [server, postgres, identityProvider, upstream] = await Promise.all([
      TestApiServer.start(),
      startPostgres(),
      startIdentityProvider({
        clients: [
          {
            client_id: 'gateway',
            client_secret: CLIENT_SECRET,
            redirect_uris: ['http://127.0.0.1/oauth/callback'],
          },
        ],
      }),
      startMessagesUpstream(),
    ]);
    const platform = new Platform(server, postgres, identityProvider, upstream);
    for (const file of readdirSync(DEFINITIONS)) {
      const definition = parse(readFileSync(new URL(file, DEFINITIONS), 'utf8')) as {
        metadata: { name: string };
      };
      const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition.metadata.name}`;
      must(await server.apply(path, definition));
    }
    for (const { kind } of KINDS) await platform.#served(kind);
    return platform;
  }

  /** Waits until the API server knows a kind that was defined. */
  async #served(kind: string): Promise<void> {
    await until(async () => (await this.server.call('GET', this.#path(kind, 'default'))).status === 200);
  }

  /** Has the API server know ServiceMonitors, as where the Prometheus operator runs, whatever they say. */
  async defineServiceMonitors(): Promise<void> {
    const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const name = 'servicemonitors.monitoring.coreos.com';
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name },
      spec: {
        group: 'monitoring.coreos.com',
        scope: 'Namespaced',
        names: { kind: 'ServiceMonitor', plural: 'servicemonitors', singular: 'servicemonitor' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    };
    must(
      await this.server.apply(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`, definition),
    );
    await this.#served('ServiceMonitor');
  }

  async operator(name = 'operator-0', env: NodeJS.ProcessEnv = {}): Promise<OperatorProcess> {
    const operator = await OperatorProcess.start(name, { kubeconfig: this.kubeconfig, env });
    this.#operators.push(operator);
    return operator;
  }

  /** A namespace of its own, with a database, and the Secrets that {@link gatewayManifest} refers to. */
  async namespace(name: string): Promise<Namespace> {
    must(
      await this.server.apply(`/api/v1/namespaces/${name}`, {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name },
      }),
    );
    const namespace = new Namespace(this, name, await this.postgres.createDatabase());
    await namespace.secret('database', { url: namespace.databaseUrl });
    await namespace.secret('oidc', { secret: CLIENT_SECRET });
    await namespace.secret('anthropic', { key: 'sk-ant-upstream-credential' });
    await namespace.secret('admin', { terraform: ADMIN_KEY });
    return namespace;
  }

  async kubectl(...args: string[]): Promise<string> {
    const program = findKubeProgram('kubectl');
    if (program === undefined) throw new Error('kubectl was not found');
    const { status, stdout, stderr } = spawnSync(program, ['--kubeconfig', this.kubeconfig, ...args], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return Promise.resolve(stdout);
  }

  /**
   * What a pod of this gateway would run, as a process: the ConfigMap and the mounted files as they are now, on a port of its
   * own.
   */
  async pod(namespace: Namespace, gateway: string): Promise<GatewayProcess> {
    const deployment = await namespace.get('Deployment', gateway);
    const mounts = join(this.#directory, `${namespace.name}-${gateway}-${this.#pods.length}`);
    const { volumes, containers } = podSpecOf(deployment);
    const container = containers.find(({ name }) => name === 'gateway');
    let yaml = '';
    for (const { name, mountPath } of container?.volumeMounts ?? []) {
      const volume = volumes.find((one) => one.name === name);
      for (const source of sourcesOf(volume ?? {})) {
        const { data = {} } = await namespace.get(source.kind, source.name);
        for (const { key, path } of source.items ?? Object.keys(data).map((key) => ({ key, path: key }))) {
          const value = data[key];
          if (value === undefined) throw new Error(`${source.kind} ${source.name} has no key ${key}`);
          const content = source.kind === 'Secret' ? Buffer.from(value, 'base64') : Buffer.from(value);
          if (path === 'gateway.yaml') yaml = content.toString();
          const file = join(mounts, mountPath, path);
          mkdirSync(dirname(file), { recursive: true });
          writeFileSync(file, content);
        }
      }
    }
    const port = await freePort();
    const document = parse(yaml.replaceAll('/etc/claude-gateway/', `${mounts}/etc/claude-gateway/`)) as {
      listen: { host: string; port: number };
    };
    const pod = await GatewayProcess.start({
      ...document,
      listen: { ...document.listen, host: '127.0.0.1', port },
      // Pods have an address each; here they share one.
      metrics: { host: '127.0.0.1', port: 0 },
    });
    this.#pods.push(pod);
    return pod;
  }

  async call(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    kind: string,
    namespace: string,
    name = '',
    body?: unknown,
    contentType?: string,
  ): Promise<KubeAnswer> {
    const path = `${this.#path(kind, namespace)}${name === '' ? '' : `/${name}`}`;
    return this.server.call(method, path, body, contentType);
  }

  async apply(namespace: string, object: Manifest, manager = 'test', force = false): Promise<KubeAnswer> {
    const path = `${this.#path(object.kind, namespace)}/${object.metadata.name}`;
    return this.server.apply(path, object, manager, force ? '&force=true' : '');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#operators.map((operator) => operator.stop('SIGKILL')));
    await Promise.all(this.#pods.map((pod) => pod.stop('SIGKILL')));
    await Promise.all([this.identityProvider.stop(), this.upstream.stop(), this.server.stop()]);
    await this.postgres.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #path(kind: string, namespace: string): string {
    const path = PATHS[kind];
    if (path === undefined) throw new Error(`tests know no kind ${kind}`);
    return path.replace('NS', namespace);
  }
}

const CLIENT_SECRET = 'a-client-secret-of-the-development-idp';
/** The admin key of every gateway of the tests. */
export const ADMIN_KEY = 'an-admin-key-of-at-least-thirty-two-bytes';

/** One namespace of the platform, and the database that its gateways share unless they say otherwise. */
export class Namespace {
  readonly platform: Platform;
  readonly name: string;
  readonly databaseUrl: string;

  constructor(platform: Platform, name: string, databaseUrl: string) {
    this.platform = platform;
    this.name = name;
    this.databaseUrl = databaseUrl;
  }

  async secret(name: string, data: Readonly<Record<string, string>>): Promise<void> {
    const stringData = data;
    await this.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: this.name },
      stringData,
    });
  }

  /** A gateway that serves the platform's people through its upstream. */
  gatewayManifest(name = 'main', spec: Record<string, unknown> = {}) {
    return this.manifest('ClaudeGateway', name, {
      publicURL: 'http://127.0.0.1',
      database: { urlSecretRef: { name: 'database', key: 'url' } },
      identityProviders: [
        {
          name: 'default',
          issuer: this.platform.identityProvider.issuer,
          clientID: 'gateway',
          clientSecretRef: { name: 'oidc', key: 'secret' },
        },
      ],
      upstreams: [
        {
          name: 'anthropic',
          anthropic: {
            baseURL: this.platform.upstream.url,
            apiKeySecretRef: { name: 'anthropic', key: 'key' },
          },
        },
      ],
      admin: {
        keys: [{ name: 'terraform', access: 'Write', secretRef: { name: 'admin', key: 'terraform' } }],
      },
      podTemplate: {
        spec: {
          containers: [{ name: 'gateway', env: [{ name: 'CLAUDE_GATEWAY_ALLOW_LOOPBACK', value: '1' }] }],
        },
      },
      ...spec,
    });
  }

  manifest(kind: string, name: string, spec: Record<string, unknown>) {
    return { apiVersion: 'claudegateway.dev/v1alpha1', kind, metadata: { name, namespace: this.name }, spec };
  }

  /** `kubectl apply --server-side`. @throws Error when the API server refuses. */
  async apply(object: Manifest, manager = 'test', force = false): Promise<KubeObject> {
    return must(await this.platform.apply(this.name, object, manager, force));
  }

  async get(kind: string, name: string): Promise<KubeObject> {
    return must(await this.platform.call('GET', kind, this.name, name));
  }

  async exists(kind: string, name: string): Promise<boolean> {
    return (await this.platform.call('GET', kind, this.name, name)).status === 200;
  }

  async list(kind: string): Promise<readonly KubeObject[]> {
    return (must(await this.platform.call('GET', kind, this.name)) as unknown as { items: KubeObject[] })
      .items;
  }

  async delete(kind: string, name: string): Promise<void> {
    must(await this.platform.call('DELETE', kind, this.name, name));
  }

  /** As `kubectl edit` does it: read, change, replace; not by server-side apply. */
  async edit(kind: string, name: string, patch: unknown): Promise<KubeObject> {
    return must(
      await this.platform.call('PATCH', kind, this.name, name, patch, 'application/merge-patch+json'),
    );
  }

  /** The condition, as soon as it is about the present generation and has this status. */
  async condition(
    kind: string,
    name: string,
    type: string,
    status: string,
    reason?: string,
  ): Promise<Condition> {
    let last: unknown;
    return until(
      async () => {
        const object = await this.get(kind, name);
        last = object.status;
        return object.status?.conditions?.find(
          (one) =>
            one.type === type &&
            one.observedGeneration === object.metadata.generation &&
            one.status === status &&
            (reason === undefined || one.reason === reason),
        );
      },
      () =>
        `${kind} ${name}: ${type} is not ${status}${reason === undefined ? '' : ` (${reason})`}: ${JSON.stringify(last, null, 1)}`,
    );
  }
}

/** Waits until `check` answers something. @throws Error after `within` ms. */
export async function until<T>(
  check: () => Promise<T | undefined | false>,
  what = (): string => check.toString(),
  within = 60_000,
  pause = 50,
): Promise<T> {
  const end = Date.now() + within;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`not within ${within / 1000} s: ${what()}`);
    await sleep(pause);
  }
}

/** The parts of a Deployment that tests look at. */
export interface PodTemplate {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
    }[];
    readonly volumes: readonly Volume[];
  };
}

export function templateOf(deployment: KubeObject): PodTemplate {
  return (deployment.spec as { template: PodTemplate }).template;
}

const podSpecOf = (deployment: KubeObject): PodTemplate['spec'] => templateOf(deployment).spec;

function must({ status, body }: KubeAnswer): KubeObject {
  if (status >= 300) throw new Error(`${status}: ${String(body['message'])}`);
  return body as unknown as KubeObject;
}

interface Source {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly items?: readonly { readonly key: string; readonly path: string }[];
}

interface Volume {
  readonly name?: string;
  readonly configMap?: { readonly name: string; readonly items?: Source['items'] };
  readonly secret?: { readonly secretName: string; readonly items?: Source['items'] };
  readonly projected?: {
    readonly sources: readonly {
      readonly configMap?: { readonly name: string; readonly items?: Source['items'] };
      readonly secret?: { readonly name: string; readonly items?: Source['items'] };
    }[];
  };
}

function sourcesOf(volume: Volume): Source[] {
  const source = (kind: Source['kind'], name: string, items: Source['items']): Source => ({
    kind,
    name,
    ...(items !== undefined && { items }),
  });
  const { configMap, secret, projected } = volume;
  return [
    ...(configMap === undefined ? [] : [source('ConfigMap', configMap.name, configMap.items)]),
    ...(secret === undefined ? [] : [source('Secret', secret.secretName, secret.items)]),
    ...(projected?.sources ?? []).flatMap((one) => [
      ...(one.configMap === undefined ? [] : [source('ConfigMap', one.configMap.name, one.configMap.items)]),
      ...(one.secret === undefined ? [] : [source('Secret', one.secret.name, one.secret.items)]),
    ]),
  ];
}
