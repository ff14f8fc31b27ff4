import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until `check` neither throws nor answers false. @throws what it threw last, after `within` ms. */
export async function eventually(check: () => unknown, within = 45_000): Promise<void> {
  const end = performance.now() + within;
  for (;;) {
    try {
      if ((await check()) !== false) return;
      if (performance.now() > end) throw new Error(`not within ${within} ms: ${check.toString()}`);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(50);
  }
}
