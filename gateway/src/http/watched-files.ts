import { readFileSync, watch, type FSWatcher } from 'node:fs';
import { dirname } from 'node:path';

/** How long after the last change notice the files are read: editors and kubelets write in several steps. */
const SETTLE_MS = 100;

/**
 * Calls back when the contents of any of the files changed. Directories are watched, not files, since a Kubernetes
 * volume replaces a symbolic link; a slow poll covers file systems that send no notices.
 *
 * @param onChange Not called for a change of time stamps alone, nor while a file cannot be read.
 * @param pollMs How often to look without a notice.
 */
export function watchFiles(
  paths: readonly string[],
  onChange: () => void,
  pollMs = 10_000,
): { close(): void } {
  let last = contents(paths);
  let settling: NodeJS.Timeout | undefined;
  const look = (): void => {
    const now = contents(paths);
    if (now === undefined || now === last) return;
    last = now;
    onChange();
  };
  const notice = (): void => {
    clearTimeout(settling);
    settling = setTimeout(look, SETTLE_MS);
  };
  const watchers = [...new Set(paths.map((path) => dirname(path)))].map((directory) =>
    tryWatch(directory, notice),
  );
  const poll = setInterval(look, pollMs);
  poll.unref();
  return {
    close() {
      clearTimeout(settling);
      clearInterval(poll);
      for (const watcher of watchers) watcher?.close();
    },
  };
}

function tryWatch(directory: string, notice: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, notice);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

function contents(paths: readonly string[]): string | undefined {
  try {
    return paths.map((path) => readFileSync(path, 'utf8')).join('\0');
  } catch {
    return undefined;
  }
}
