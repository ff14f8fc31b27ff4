/**
 * Preloaded into a gateway process: its wall clock runs MOVED_CLOCK_FILE's content of milliseconds ahead. The file is read
 * again and again, so that a test can let midnight come while a request is under way. Timers are not affected.
 */
import { readFileSync } from 'node:fs';

const file = process.env['MOVED_CLOCK_FILE'];
if (file === undefined) throw new Error('MOVED_CLOCK_FILE is not set');
const RealDate = Date;
let offset = 0;
const look = (): void => {
  const text = readFileSync(file, 'utf8');
  // It is empty while it is being written.
  if (text !== '') offset = Number(text);
};
look();
setInterval(look, 20).unref();

globalThis.Date = new Proxy(RealDate, {
  construct(target, args: unknown[], newTarget) {
    const given = args.length === 0 ? [RealDate.now() + offset] : args;
    return Reflect.construct(target, given, newTarget) as Date;
  },
  apply: () => new RealDate(RealDate.now() + offset).toString(),
  get: (target, key) =>
    key === 'now' ? () => RealDate.now() + offset : (Reflect.get(target, key) as unknown),
});
