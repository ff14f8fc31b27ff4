import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

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

/** Who talks to an API server, and by which way. */
export interface ApiServerAccess {
  /** An administrator's by default; `nobody` is somebody without any rights. */
  readonly token?: string;
  /** Instead of the server's port, for a proxy in between. */
  readonly via?: number;
}

/** The token of somebody who may do nothing. */
const NOBODY = 'nobody';

/** A real etcd and kube-apiserver on loopback, ready in seconds. Without controllers: no garbage is collected, no pod runs. */
export class ApiServer {
  /** What {@link ApiServer.start} needs; see {@link findKubeProgram}. */
  static readonly PROGRAMS: readonly string[] = ['etcd', 'kube-apiserver'];

  protected readonly directory = mkdtempSync(join(tmpdir(), 'kube-'));
  /** An administrator's. */
  protected readonly token = randomBytes(16).toString('hex');
  #port = 0;
  #etcdUrl = '';
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;

  /** @throws Error when a program is missing, or the server does not become ready within a minute. */
  static async start<T extends ApiServer>(this: new () => T): Promise<T> {
    const server = new this();
    try {
      await server.#start();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** A kubeconfig, as an object; it is JSON, and so YAML. */
  kubeconfig({ token = this.token, via = this.#port }: ApiServerAccess = {}): object {
    const cluster = {
      server: `https://127.0.0.1:${via}`,
      'certificate-authority-data': readFileSync(this.#path('certs/apiserver.crt')).toString('base64'),
    };
    return {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    };
  }

  /** Stops etcd's process, as a disk that hangs would. */
  pauseEtcd(): void {
    this.#etcd?.kill('SIGSTOP');
  }

  resumeEtcd(): void {
    this.#etcd?.kill('SIGCONT');
  }

  /** Kills the API server without a goodbye. */
  async killServer(): Promise<void> {
    await kill(this.#server);
  }

  /** Starts it again, on the same port and data. @returns when it is ready. */
  async startServer(): Promise<void> {
    this.#server = this.#spawn('kube-apiserver', [
      `--etcd-servers=${this.#etcdUrl}`,
      '--bind-address=127.0.0.1',
      // Loopback is refused here; nobody ever connects to this one.
      '--advertise-address=192.0.2.1',
      `--secure-port=${this.#port}`,
      `--cert-dir=${this.#path('certs')}`,
      `--token-auth-file=${this.#path('tokens')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${this.#path('sa.key')}`,
      `--service-account-signing-key-file=${this.#path('sa.key')}`,
      '--service-cluster-ip-range=10.0.0.0/24',
      '--disable-admission-plugins=ServiceAccount',
    ]);
    for (let tries = 0; tries < 600; tries++) {
      if (await this.#isReady()) return;
      await sleep(100);
    }
    throw new Error('kube-apiserver did not become ready within a minute');
  }

  async stop(): Promise<void> {
    this.resumeEtcd();
    // In this order: without etcd, the API server hangs.
    await kill(this.#server);
    await kill(this.#etcd);
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(this.#path('sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(
      this.#path('tokens'),
      `${this.token},admin,admin,system:masters\n${NOBODY},nobody,nobody\n`,
    );
    this.#port = await freePort();
    this.#etcdUrl = `http://127.0.0.1:${await freePort()}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    this.#etcd = this.#spawn('etcd', [
      `--data-dir=${this.#path('etcd')}`,
      '--unsafe-no-fsync',
      `--listen-client-urls=${this.#etcdUrl}`,
      `--advertise-client-urls=${this.#etcdUrl}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
    await this.startServer();
  }

  #isReady(): Promise<boolean> {
    // Its certificate is made when it starts.
    const options = {
      headers: { authorization: `Bearer ${this.token}` },
      rejectUnauthorized: false,
      signal: AbortSignal.timeout(1_000),
      agent: false as const,
    };
    return new Promise((resolve) => {
      request(`${this.url}/readyz`, options, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      })
        .on('error', () => resolve(false))
        .end();
    });
  }

  #path(name: string): string {
    return join(this.directory, name);
  }

  #spawn(name: string, args: readonly string[]): ChildProcess {
    const program = findKubeProgram(name);
    if (program === undefined) throw new Error(`${name} was not found: name its directory in KUBE_BIN_DIR`);
    return spawn(program, args, { cwd: this.directory, stdio: 'ignore' });
  }
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}
