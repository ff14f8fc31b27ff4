/**
 * Imported by a gateway before its program: on SIGUSR2 it says the most that its one thread has worked in one go since the
 * last time, in milliseconds of CPU time. On a machine that has nothing else to do that is how long others waited; the time
 * by the clock would also count what other processes took.
 */
const RESOLUTION_MS = 1;

let before = process.threadCpuUsage();
let longestUs = 0;
// Fires once in each turn of the event loop, as soon as whatever kept it is over.
setInterval(() => {
  const now = process.threadCpuUsage();
  longestUs = Math.max(longestUs, now.user + now.system - before.user - before.system);
  before = now;
}, RESOLUTION_MS).unref();

process.on('SIGUSR2', () => {
  process.stdout.write(`${JSON.stringify({ evt: 'event_loop', max_ms: longestUs / 1_000 })}\n`);
  longestUs = 0;
});
