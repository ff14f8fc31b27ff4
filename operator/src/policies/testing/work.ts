import { Session } from 'node:inspector/promises';

/**
 * How often the code of this room was run through, counted by the engine: each function and each block within, such as the
 * body of a loop. Equal on every machine.
 */
export async function countWork(work: () => void): Promise<number> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    await session.post('Profiler.takePreciseCoverage');
    work();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    return result
      .filter(({ url }) => /operator\/src\/policies\/[-a-z]+\.ts$/.test(url))
      .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges))
      .reduce((sum, { count }) => sum + count, 0);
  } finally {
    session.disconnect();
  }
}

/** How much more work `many` things make than `few`. @param workOn does something with so many things. */
export async function growth(
  few: number,
  many: number,
  workOn: (count: number) => () => void,
): Promise<number> {
  // Of code that never ran the engine does not count the first runs.
  workOn(few)();
  const base = await countWork(workOn(few));
  if (base < few) throw new Error(`${few} things cannot be looked at ${base} times: nothing was counted`);
  return (await countWork(workOn(many))) / base;
}
