import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits between two rounds of a loop.
 *
 * @returns false when it is time to go.
 */
export async function pause(ms: number, closing: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal: closing });
    return true;
  } catch {
    return false;
  }
}

/** @throws when the signal aborts before the work is done. pg leaves some promises open when it is told to end. */
export async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const leave = new AbortController();
  const aborted = new Promise<never>((_, fail) => {
    const end = (): void => fail(signal.reason as Error);
    signal.addEventListener('abort', end, { signal: leave.signal });
    if (signal.aborted) end();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    leave.abort();
  }
}
