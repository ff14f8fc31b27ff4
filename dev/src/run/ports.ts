import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Ports that stay the same from one start to the next wherever possible: clients remember URLs. */
export class Ports {
  readonly #path: string;
  readonly #kept: Record<string, number>;
  readonly #taken = new Set<number>();

  constructor(path: string) {
    this.#path = path;
    this.#kept = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>) : {};
  }

  /** The port it had last time, else `preferred`, else the next free one. */
  async choose(name: string, preferred: number): Promise<number> {
    const wanted = this.#kept[name] ?? preferred;
    for (let port = wanted; port < wanted + 100; port++) {
      if (this.#taken.has(port) || !(await isFree(port))) continue;
      this.#taken.add(port);
      this.#kept[name] = port;
      writeFileSync(this.#path, `${JSON.stringify(this.#kept, null, 2)}\n`);
      return port;
    }
    throw new Error(`no free port for ${name} from ${wanted} to ${wanted + 99}`);
  }

  /** A port that somebody asked for: that one or none. @throws Error when it is taken. */
  async claim(name: string, port: number): Promise<number> {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new Error(`the port of ${name} must be a number from 1 to 65535`);
    }
    if (!(await isFree(port))) {
      throw new Error(
        `port ${port} is in use by another program: stop that one, or choose another port for ${name}`,
      );
    }
    this.#taken.add(port);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const probe = createServer();
    probe.once('error', () => answer(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => answer(true)));
  });
}

const LOOK_EVERY_MS = 2000;

/** Settles when nothing takes connections on the port twice in a row; never once the signal has come. */
export async function untilUnreachable(port: number, signal: AbortSignal): Promise<void> {
  for (let misses = 0; misses < 2;) {
    await sleep(LOOK_EVERY_MS, undefined, { ref: false });
    misses = (await isReachable(port)) ? 0 : misses + 1;
    if (signal.aborted) return new Promise(() => undefined);
  }
}

function isReachable(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => answer(true)).once('error', () => answer(false));
    socket.once('connect', () => socket.destroy());
  });
}
