import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SLOTS = 16;

/** One of the places for a cluster on this machine. */
export interface Slot {
  /** 0 to 15: names what must not be shared, such as networks. */
  readonly number: number;
  /** Where its files go; exists, and is empty. */
  readonly directory: string;
  /** Clears the place away and gives it to the next. Idempotent. */
  release(): void;
}

/** Whether a process of this id runs; one that only waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}

/**
 * Takes a place that no running process has, and clears away what a test that was killed left in it.
 *
 * @param prefix Name of the kind of place; its directory is `prefix-number` among the temporary ones.
 * @param clear Removes what is left of a place besides its files.
 * @throws when all are taken.
 */
export function takeSlot(prefix: string, clear: (number: number) => void = () => undefined): Slot {
  for (let number = 0; number < SLOTS; number++) {
    const directory = join(tmpdir(), `${prefix}-${number}`);
    const owner = `${directory}.pid`;
    const empty = (): void => {
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
      clear(number);
    };
    for (let tries = 0; tries < 2; tries++) {
      try {
        const file = openSync(owner, 'wx');
        writeFileSync(file, String(process.pid));
        closeSync(file);
        empty();
        mkdirSync(directory, { mode: 0o700 });
        let ours = true;
        return {
          number,
          directory,
          release: () => {
            if (!ours) return;
            ours = false;
            empty();
            rmSync(owner, { force: true });
          },
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        const content = readFileSync(owner, 'utf8');
        // Empty: somebody is taking it this very moment.
        if (content === '' || runs(Number(content))) break;
        rmSync(owner, { force: true });
      }
    }
  }
  throw new Error(`${SLOTS} clusters run on this machine already`);
}
