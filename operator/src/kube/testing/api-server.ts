import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { describe } from '@jest/globals';

/** Where a program of Kubernetes is, if anywhere. */
export function findKubeProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'claude-gateway-testbed', 'bin');
  const directories = [env['KUBEBUILDER_ASSETS'], ...(env['PATH'] ?? '').split(delimiter), cache];
  return directories
    .filter((directory) => directory !== undefined && directory !== '')
    .map((directory) => join(directory as string, name))
    .find((path) => existsSync(path));
}

/**
 * `describe` where etcd and kube-apiserver are at hand; elsewhere skipped, loudly. On CI too: nothing installs them there
 * as long as there is no operator to test.
 */
export function describeWithApiServer(): typeof describe | typeof describe.skip {
  const missing = ['etcd', 'kube-apiserver'].filter((name) => findKubeProgram(name) === undefined);
  if (missing.length === 0) return describe;
  const message = `these tests need ${missing.join(' and ')}: set KUBEBUILDER_ASSETS to their directory`;
  process.stderr.write(`SKIPPED: ${message}\n`);
  return describe.skip;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real etcd and kube-apiserver, without controllers: nothing collects garbage and no pod runs. */
export class ApiServer {
  readonly #directory = mkdtempSync(join(tmpdir(), 'kube-'));
  readonly #token = randomBytes(16).toString('hex');
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  port = 0;
  #etcdPort = 0;
  #peerPort = 0;

  static async start(): Promise<ApiServer> {
    const server = new ApiServer();
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(server.#path('sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(
      server.#path('tokens'),
      `${server.#token},admin,admin,system:masters\nnobody,nobody,nobody\n`,
    );
    server.port = await freePort();
    server.#etcdPort = await freePort();
    server.#peerPort = await freePort();
    server.#startEtcd();
    await server.startServer();
    return server;
  }

  /** As an administrator, by default; `via` replaces the port, for a proxy in between. */
  config({ token = this.#token, via = this.port }: { token?: string; via?: number } = {}): KubeConfig {
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      {
        name: 'test',
        server: `https://127.0.0.1:${via}`,
        caData: readFileSync(this.#path('certs/apiserver.crt')).toString('base64'),
        skipTLSVerify: false,
      },
      { name: 'admin', token },
    );
    return config;
  }

  /** Pauses etcd, as a disk that hangs would. */
  pauseEtcd(): void {
    this.#etcd?.kill('SIGSTOP');
  }

  resumeEtcd(): void {
    this.#etcd?.kill('SIGCONT');
  }

  /** Kills the API server without a goodbye. */
  async killServer(): Promise<void> {
    await end(this.#server, 'SIGKILL');
  }

  /** (Re)starts the API server on the same port and data. @returns when it is ready. */
  async startServer(): Promise<void> {
    const etcd = `http://127.0.0.1:${this.#etcdPort}`;
    this.#server = this.#spawn('kube-apiserver', [
      `--etcd-servers=${etcd}`,
      '--bind-address=127.0.0.1',
      // Loopback is refused here; nobody ever connects to this one.
      '--advertise-address=192.0.2.1',
      `--secure-port=${this.port}`,
      `--cert-dir=${this.#path('certs')}`,
      `--token-auth-file=${this.#path('tokens')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${this.#path('sa.key')}`,
      `--service-account-signing-key-file=${this.#path('sa.key')}`,
      '--service-cluster-ip-range=10.0.0.0/24',
      '--disable-admission-plugins=ServiceAccount',
    ]);
    const { request } = await import('node:https');
    for (let i = 0; i < 600; i++) {
      const ready = await new Promise<boolean>((resolve) => {
        const headers = { authorization: `Bearer ${this.#token}` };
        const options = { headers, rejectUnauthorized: false, timeout: 1000, agent: false as const };
        request(`https://127.0.0.1:${this.port}/readyz`, options, (response) => {
          response.resume();
          resolve(response.statusCode === 200);
        })
          .on('error', () => resolve(false))
          .end();
      });
      if (ready) return;
      await sleep(100);
    }
    throw new Error(`kube-apiserver did not become ready; its log: ${this.#path('kube-apiserver.log')}`);
  }

  async stop(): Promise<void> {
    this.resumeEtcd();
    // In this order: without etcd, the API server hangs.
    await end(this.#server, 'SIGKILL');
    await end(this.#etcd, 'SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #startEtcd(): void {
    const client = `http://127.0.0.1:${this.#etcdPort}`;
    const peer = `http://127.0.0.1:${this.#peerPort}`;
    this.#etcd = this.#spawn('etcd', [
      `--data-dir=${this.#path('etcd')}`,
      '--unsafe-no-fsync',
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  #spawn(name: string, args: string[]): ChildProcess {
    const program = findKubeProgram(name);
    if (program === undefined) throw new Error(`${name} was not found`);
    return spawn(program, args, { cwd: this.#directory, stdio: 'ignore' });
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}
