import { setTimeout as sleep } from 'node:timers/promises';
import { ChildProgram, type ChildProgramOptions } from './child-program.ts';

const READY_TIMEOUT_MS = 60_000;

export interface GatewayChildOptions extends ChildProgramOptions {
  readonly url: string;
}

/** The gateway, in a process of its own. */
export class GatewayChild extends ChildProgram {
  readonly #url: string;

  constructor(options: GatewayChildOptions) {
    super(options);
    this.#url = options.url;
  }

  /** Waits until it takes requests. @throws Error when it ends before, or takes longer than a minute. */
  async ready(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (this.running && !signal.aborted) {
      const answer = await fetch(`${this.#url}/readyz`, { signal }).catch(() => undefined);
      if (answer?.ok) return;
      if (Date.now() > deadline)
        throw new Error(`the gateway was not ready within ${READY_TIMEOUT_MS / 1000} s`);
      await sleep(100);
    }
    signal.throwIfAborted();
    throw new Error(`the gateway ${await this.ended}`);
  }
}
