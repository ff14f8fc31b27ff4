import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from '@jest/globals';

/** The first of these programs that is on PATH, as a path. */
export function findProgram(...names: string[]): string | undefined {
  for (const name of names) {
    for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
      const path = join(directory, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here; look on.
      }
    }
  }
  return undefined;
}

/**
 * `describe`, or, where something the tests need is missing, a skipped one that says so loudly. On CI nothing is
 * skipped: there a missing part is a failure.
 *
 * @param parts by name; absent ones are missing.
 */
export function describeWith(
  parts: Readonly<Record<string, unknown>>,
): typeof describe | typeof describe.skip {
  const missing = Object.keys(parts).filter((name) => !parts[name]);
  if (missing.length === 0) return describe;
  const message = `these tests need ${missing.join(' and ')}, which this machine lacks (hack/testbed.sh gets them)`;
  if (process.env['CI']) throw new Error(message);
  console.warn(`SKIPPED: ${message}`);
  return describe.skip;
}
