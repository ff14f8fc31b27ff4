import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsoleLog } from './console-log.ts';

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

export interface GatewayChildOptions {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly log: ConsoleLog;
}

/** The gateway as a user runs it: a process of its own. It does not outlive this one, however this one ends. */
export class GatewayChild {
  /** How it ended, in words; settles once it has. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  readonly #url: string;
  #running = true;

  constructor({ command: [program = '', ...args], cwd, env, url, log }: GatewayChildOptions) {
    this.#url = url;
    // In a process group of its own: Ctrl-C on the terminal is for us, and we stop things in order.
    this.#process = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => log.chunk(chunk));
    }
    const watchdog = watch(this.#process.pid ?? 0);
    this.ended = new Promise((settle) => {
      const end = (how: string): void => {
        this.#running = false;
        watchdog.kill('SIGKILL');
        settle(how);
      };
      this.#process.once('error', (error) => end(`could not be started: ${error.message}`));
      this.#process.once('close', (code, signal) =>
        end(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`),
      );
    });
  }

  /** Waits until it takes requests. @throws Error when it ends before, or takes longer than a minute. */
  async ready(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (this.#running && !signal.aborted) {
      const answer = await fetch(`${this.#url}/readyz`, { signal }).catch(() => undefined);
      if (answer?.ok) return;
      if (Date.now() > deadline)
        throw new Error(`the gateway was not ready within ${READY_TIMEOUT_MS / 1000} s`);
      await sleep(100);
    }
    signal.throwIfAborted();
    throw new Error(`the gateway ${await this.ended}`);
  }

  /** As Ctrl-C would: it finishes what is in flight, and does not wait for a balancer to notice. */
  async stop(): Promise<void> {
    this.#process.kill('SIGINT');
    const late = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.ended;
    clearTimeout(late);
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

/** A shell that waits for our end of a pipe to close, which the kernel sees to however we die. */
function watch(pid: number): ChildProcess {
  const child = spawn('/bin/sh', ['-c', 'read -r _; kill -INT "$1"', 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  child.unref();
  return child;
}
