import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Somebody else is at work in this directory. */
export class AlreadyRunning extends Error {
  override readonly name = 'AlreadyRunning';
}

/**
 * Takes the directory for this process; a lock whose process is gone does not count.
 *
 * @param marker Part of the command line by which a process of ours is told from one that got its id later.
 * @returns what gives it back.
 * @throws AlreadyRunning
 */
export function takeLock(path: string, marker: string): () => void {
  for (let attempt = 0; ; attempt++) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 1) throw error;
    }
    const holder = Number(readFileSync(path, 'utf8'));
    if (isRunning(holder, marker)) {
      throw new AlreadyRunning(
        `make dev is already running in this checkout (process ${holder}). Stop it with Ctrl-C where it runs, or: kill ${holder}`,
      );
    }
    rmSync(path, { force: true });
  }
}

function isRunning(pid: number, marker: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  const { status, stdout } = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  return status === 0 && stdout.includes(marker);
}
