import { describe } from '@jest/globals';
import { ApiServer, findKubeProgram } from '@claude-gateway/dev';

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

/**
 * `describe` where etcd and kube-apiserver are at hand, else a skipped one that says so loudly. On CI too: they are built
 * from source there, which may be impossible.
 */
export function describeWithApiServer(): typeof describe | typeof describe.skip {
  const missing = ApiServer.PROGRAMS.filter((name) => findKubeProgram(name) === undefined);
  if (missing.length === 0) return describe;
  console.warn(`SKIPPED: these tests need ${missing.join(' and ')}: name their directory in KUBE_BIN_DIR`);
  return describe.skip;
}
