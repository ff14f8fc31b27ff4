import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@claude-gateway/dev';

const ROOT = resolve(import.meta.dirname, '../../..');
const MAIN = resolve(ROOT, 'operator/src/main.ts');
const BOOT_TIMEOUT_MS = 60_000;

export interface OperatorProcessOptions {
  readonly kubeconfig: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** One process of the operator, as its pod starts it, but with a kubeconfig. */
export class OperatorProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #health: string;
  readonly #metrics: string;
  #output = '';

  private constructor(name: string, child: ChildProcess, healthPort: number, metricsPort: number) {
    this.name = name;
    this.#child = child;
    this.#health = `http://127.0.0.1:${healthPort}`;
    this.#metrics = `http://127.0.0.1:${metricsPort}/metrics`;
    this.#exited = once(child, 'exit').then(([code]) => code as number | null);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => (this.#output += chunk));
    }
  }

  /** @throws Error with everything that the process printed when it does not become ready. */
  static async start(name: string, { kubeconfig, env }: OperatorProcessOptions): Promise<OperatorProcess> {
    const [healthPort, metricsPort] = [await freePort(), await freePort()];
    const child = spawn(
      process.execPath,
      ['--conditions=source', '--disable-warning=ExperimentalWarning', MAIN],
      {
        cwd: ROOT,
        env: {
          PATH: process.env['PATH'],
          KUBECONFIG: kubeconfig,
          POD_NAME: name,
          POD_NAMESPACE: 'default',
          GATEWAY_IMAGE: 'registry.example/claude-gateway:0.1.0',
          HEALTH_PORT: String(healthPort),
          METRICS_PORT: String(metricsPort),
          LEADER_ELECTION: 'false',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const operator = new OperatorProcess(name, child, healthPort, metricsPort);
    await operator.#ready();
    return operator;
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + BOOT_TIMEOUT_MS;
    let exited = false;
    void this.#exited.then(() => (exited = true));
    while (!exited && Date.now() < deadline) {
      const response = await fetch(`${this.#health}/readyz`).catch(() => undefined);
      if (response?.status === 200) return;
      await sleep(50);
    }
    await this.stop('SIGKILL');
    throw new Error(`the operator ${exited ? 'exited' : 'did not become ready'}:\n${this.#output}`);
  }

  /** The value of a metric without labels, or with those in braces as they are printed. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(this.#metrics)).text();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
    if (line === undefined) throw new Error(`there is no metric ${name}:\n${text}`);
    return Number(line.slice(name.length + 1));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Everything printed so far. */
  get output(): string {
    return this.#output;
  }

  /** Log lines. */
  get lines(): Record<string, unknown>[] {
    return this.#output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** The exit code, once the process has ended; null when a signal ended it. */
  get exited(): Promise<number | null> {
    return this.#exited;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal);
    return this.#exited;
  }
}
