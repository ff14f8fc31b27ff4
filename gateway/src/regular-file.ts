import { readFileSync, statSync, type Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';

/** What configuration names is a certificate, a key, a token or a document. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** A file that is there and is nothing to read: its `code` says why, in words, in place of an error number. */
class NoRegularFileError extends Error {
  readonly code: string;

  constructor(why: string) {
    super(why);
    this.code = why;
  }
}

/**
 * Reads a file that configuration names: a device such as `/dev/zero` has no end, and a pipe may never have a beginning.
 *
 * @throws Error with a `code`: of the system's, or in words for what is no regular file, or has more than 4 MiB.
 */
export function readRegularFile(path: string): string {
  return isEmpty(statSync(path)) ? '' : readFileSync(path, 'utf8');
}

/** As {@link readRegularFile}, without keeping anybody waiting. */
export async function readRegularFileLater(path: string): Promise<string> {
  return isEmpty(await stat(path)) ? '' : readFile(path, 'utf8');
}

/** What says that it is empty may have no end all the same, as in `/proc`. */
function isEmpty(file: Stats): boolean {
  if (!file.isFile()) throw new NoRegularFileError('it is not a regular file');
  if (file.size > MAX_FILE_BYTES) throw new NoRegularFileError('it has more than 4 MiB');
  return file.size === 0;
}
