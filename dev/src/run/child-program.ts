import { spawn, type ChildProcess } from 'node:child_process';
import type { ConsoleLog } from './console-log.ts';

const STOP_TIMEOUT_MS = 20_000;

export interface ChildProgramOptions {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: ConsoleLog;
}

/** A program as a user runs it: a process of its own. It does not outlive this one, however this one ends. */
export class ChildProgram {
  /** How it ended, in words; settles once it has. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  #running = true;

  constructor({ command: [program = '', ...args], cwd, env, log }: ChildProgramOptions) {
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

  get running(): boolean {
    return this.#running;
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
