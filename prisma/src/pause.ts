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
