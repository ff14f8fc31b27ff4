import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request, type Dispatcher } from 'undici';
import { freePort } from '../harness/free-port.ts';

/**
 * A program of Kubernetes: in KUBE_BIN_DIR or KUBEBUILDER_ASSETS (envtest's convention), on PATH, or in the cache of
 * the test bed.
 */
export function findKubeProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'claude-gateway-testbed', 'bin');
  const path = (env['PATH'] ?? '').split(delimiter);
  return [env['KUBE_BIN_DIR'], env['KUBEBUILDER_ASSETS'], ...path, cache]
    .filter((directory) => directory !== undefined && directory !== '')
    .map((directory) => join(String(directory), name))
    .find((file) => existsSync(file));
}

/** An answer of the API server; errors are a `Status` object. */
export interface KubeAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A real etcd and kube-apiserver on loopback, ready in seconds. There are no controllers: no pod ever runs. */
export class TestApiServer {
  readonly #directory: string;
  readonly #token: string;
  #apiserver: ChildProcess;
  readonly #etcd: ChildProcess;
  readonly #startApiserver: () => ChildProcess;
  readonly #http: Dispatcher;
  readonly url: string;

  private constructor(
    directory: string,
    token: string,
    url: string,
    etcd: ChildProcess,
    startApiserver: () => ChildProcess,
  ) {
    this.#directory = directory;
    this.#token = token;
    this.#etcd = etcd;
    this.#startApiserver = startApiserver;
    this.#apiserver = startApiserver();
    this.url = url;
    // Its certificate is made anew at every start.
    this.#http = new Agent({ connect: { rejectUnauthorized: false } });
  }

  static async start(): Promise<TestApiServer> {
    const directory = mkdtempSync(join(tmpdir(), 'kube-'));
    const token = randomBytes(16).toString('hex');
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = join(directory, 'sa.key');
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const tokens = join(directory, 'tokens');
    writeFileSync(tokens, `${token},admin,admin,system:masters\n`);

    const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const port = await freePort();
    const run = (name: string, args: readonly string[]): ChildProcess => {
      const program = findKubeProgram(name);
      if (program === undefined) throw new Error(`${name} was not found: name its directory in KUBE_BIN_DIR`);
      return spawn(program, args, { cwd: directory, stdio: 'ignore' });
    };
    const etcd = run('etcd', [
      '--data-dir=etcd',
      '--unsafe-no-fsync',
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
    const startApiserver = (): ChildProcess =>
      run('kube-apiserver', [
        `--etcd-servers=${client}`,
        '--bind-address=127.0.0.1',
        // Loopback is refused here; nobody ever connects to this one.
        '--advertise-address=192.0.2.1',
        `--secure-port=${port}`,
        '--cert-dir=certs',
        `--token-auth-file=${tokens}`,
        '--authorization-mode=RBAC',
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${key}`,
        `--service-account-signing-key-file=${key}`,
        '--service-cluster-ip-range=10.0.0.0/24',
        '--disable-admission-plugins=ServiceAccount',
      ]);
    const server = new TestApiServer(directory, token, `https://127.0.0.1:${port}`, etcd, startApiserver);
    try {
      await server.#ready();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  async #ready(): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      const answer = await request(`${this.url}/readyz`, {
        dispatcher: this.#http,
        headers: { authorization: `Bearer ${this.#token}` },
      }).catch(() => undefined);
      await answer?.body.dump();
      if (answer?.statusCode === 200) return;
      await sleep(100);
    }
    throw new Error('kube-apiserver did not become ready within a minute');
  }

  /** Kills the API server without a goodbye. */
  async killServer(): Promise<void> {
    await kill(this.#apiserver);
  }

  /** Starts it again, on the same port and data. @returns when it is ready. */
  async startServer(): Promise<void> {
    this.#apiserver = this.#startApiserver();
    await this.#ready();
  }

  /** Stops etcd's process, as a disk that hangs would. */
  pauseEtcd(): void {
    this.#etcd.kill('SIGSTOP');
  }

  resumeEtcd(): void {
    this.#etcd.kill('SIGCONT');
  }

  /** One request as an administrator. @param path below the root, such as `/api/v1/namespaces`. */
  async call(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    contentType = 'application/json',
  ): Promise<KubeAnswer> {
    const answer = await request(`${this.url}${path}`, {
      method,
      dispatcher: this.#http,
      headers: {
        authorization: `Bearer ${this.#token}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': contentType }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: answer.statusCode, body: (await answer.body.json()) as Record<string, unknown> };
  }

  /** `kubectl apply --server-side`, as `manager`. */
  async apply(path: string, object: unknown, manager = 'test', query = ''): Promise<KubeAnswer> {
    return await this.call(
      'PATCH',
      `${path}?fieldManager=${manager}&fieldValidation=Strict${query}`,
      object,
      'application/apply-patch+yaml',
    );
  }

  /** For kubectl: the path of a kubeconfig. */
  kubeconfig(): string {
    const file = join(this.#directory, 'kubeconfig');
    const ca = readFileSync(join(this.#directory, 'certs', 'apiserver.crt')).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server: this.url, 'certificate-authority-data': ca } }],
      users: [{ name: 'test', user: { token: this.#token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    };
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(config));
    return file;
  }

  async stop(): Promise<void> {
    await this.#http.close();
    this.resumeEtcd();
    // In this order: without etcd, the API server hangs.
    for (const child of [this.#apiserver, this.#etcd]) await kill(child);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}
