import { watch, type FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import { readRegularFile } from '../regular-file.ts';

/** How long after the last change notice the files are read: editors and kubelets write in several steps. */
const SETTLE_MS = 100;

/** Files by their paths, with what was read of each: nothing of one that could not be read. */
export type FileContents = ReadonlyMap<string, string | undefined>;

/**
 * Calls back when any of the files has other contents than were last seen: at first, than were read. Directories are
 * watched, not files, since a Kubernetes volume replaces a symbolic link; a slow poll covers file systems that send no
 * notices.
 *
 * @param onChange Not called for a change of time stamps alone, nor because a file went.
 * @param pollMs How often to look without a notice.
 */
export function watchFiles(files: FileContents, onChange: () => void, pollMs = 10_000): { close(): void } {
  const seen = new Map(files);
  let settling: NodeJS.Timeout | undefined;
  const look = (): void => {
    let changed = false;
    for (const [path, before] of seen) {
      const now = contentOf(path) ?? before;
      changed ||= now !== before;
      seen.set(path, now);
    }
    if (changed) onChange();
  };
  const notice = (): void => {
    clearTimeout(settling);
    settling = setTimeout(look, SETTLE_MS);
  };
  const watchers = [...new Set([...files.keys()].map((path) => dirname(path)))].map((directory) =>
    tryWatch(directory, notice),
  );
  // What changed between the reading and now sends no notice.
  notice();
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

/** What the files have in them now. */
export function contentsOf(paths: readonly string[]): FileContents {
  return new Map(paths.map((path) => [path, contentOf(path)]));
}

function contentOf(path: string): string | undefined {
  try {
    return readRegularFile(path);
  } catch {
    return undefined;
  }
}
