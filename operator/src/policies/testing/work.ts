import { Session } from 'node:inspector/promises';

/**
 * Counts how often the code of this room is run through, by the engine's own counters: each function, and each block within
 * one, such as the body of a loop. Unlike time, that is the same on every machine.
 */
export class WorkCounter {
  readonly #session = new Session();

  /** Before the code runs for the first time: what is compiled already has no counters for its blocks. */
  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post('Profiler.enable');
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  async stop(): Promise<void> {
    await this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  /** @throws Error when nothing was counted. */
  async count(work: () => void): Promise<number> {
    await this.#take();
    work();
    const counted = await this.#take();
    if (counted === 0) throw new Error('nothing was counted: start before the code runs for the first time');
    return counted;
  }

  /** How much more work `many` things make than `few`. @param workOn does something with so many things. */
  async growth(few: number, many: number, workOn: (count: number) => () => void): Promise<number> {
    // The first run compiles.
    workOn(few)();
    const base = await this.count(workOn(few));
    return (await this.count(workOn(many))) / base;
  }

  async #take(): Promise<number> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    return result
      .filter(({ url }) => /operator\/src\/policies\/[-a-z]+\.ts$/.test(url))
      .flatMap(({ functions }) => functions.filter(({ isBlockCoverage }) => isBlockCoverage))
      .flatMap(({ ranges }) => ranges)
      .reduce((sum, { count }) => sum + count, 0);
  }
}
