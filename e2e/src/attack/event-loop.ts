/**
 * Imported by a gateway before its program: on SIGUSR2 it says the longest time for which the process did nothing else
 * since the last time, in milliseconds.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on('SIGUSR2', () => {
  process.stdout.write(`${JSON.stringify({ evt: 'event_loop', max_ms: delay.max / 1e6 })}\n`);
  delay.reset();
});
