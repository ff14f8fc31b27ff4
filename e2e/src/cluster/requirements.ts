import { spawnSync } from 'node:child_process';
import { describe } from '@jest/globals';
import { ApiServer, findKubeProgram } from '@claude-gateway/dev';
import { clusterName } from './cluster.ts';
import { CURRENT_CONTEXT_SETTINGS } from './current-context.ts';
import { KIND_PROGRAMS } from './kind.ts';

const PROGRAMS = [...ApiServer.PROGRAMS, 'kubelet', 'containerd', 'coredns', 'contour', 'envoy', 'pause'];

/**
 * `describe` where a whole Kubernetes can run and an image was built for it, else a skipped one that says why.
 *
 * @throws instead of skipping when a cluster was asked for by name.
 */
export function describeWithCluster(
  env: NodeJS.ProcessEnv = process.env,
): typeof describe | typeof describe.skip {
  const missing: string[] = [];
  if (!env['CLAUDE_GATEWAY_IMAGE'])
    missing.push('an image in CLAUDE_GATEWAY_IMAGE (make e2e-cluster builds one)');
  missing.push(...requirements[clusterName(env)](env));
  if (missing.length === 0) return describe;
  const needs = `these tests need ${missing.join(' and ')}`;
  if (env['CLAUDE_GATEWAY_E2E_CLUSTER']) throw new Error(needs);
  console.warn(`SKIPPED: ${needs}`);
  return describe.skip;
}

/** What each of the clusters lacks here. */
const requirements: Record<ReturnType<typeof clusterName>, (env: NodeJS.ProcessEnv) => readonly string[]> = {
  testbed: (env) => {
    const missing: string[] = [];
    if (process.platform !== 'linux' || process.getuid?.() !== 0) missing.push('root on Linux');
    const programs = PROGRAMS.filter((name) => findKubeProgram(name, env) === undefined);
    if (programs.length > 0) missing.push(`${programs.join(', ')} (hack/cluster/programs.sh gets them)`);
    return missing;
  },
  kind: (env) => {
    const missing = Object.keys(KIND_PROGRAMS)
      .filter((name) => findKubeProgram(name, env) === undefined)
      .map((name) => `${name} (${KIND_PROGRAMS[name]})`);
    const docker = spawnSync(env['DOCKER'] || 'docker', ['version'], { stdio: 'ignore' });
    if (docker.status !== 0) missing.push('a Docker engine that answers (docker version)');
    return missing;
  },
  current: (env) => {
    const missing = CURRENT_CONTEXT_SETTINGS.filter((name) => !env[name]);
    const programs = ['kubectl', 'helm'].filter((name) => findKubeProgram(name, env) === undefined);
    return [...missing, ...programs];
  },
};
