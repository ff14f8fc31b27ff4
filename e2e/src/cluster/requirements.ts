import { describe } from '@jest/globals';
import { findKubeProgram } from '../testbed/api-server.ts';

const PROGRAMS = ['etcd', 'kube-apiserver', 'kubelet', 'containerd', 'coredns', 'contour', 'envoy', 'pause'];

/** `describe` where a whole Kubernetes can run and an image was built for it, else a skipped one that says why. */
export function describeWithCluster(
  env: NodeJS.ProcessEnv = process.env,
): typeof describe | typeof describe.skip {
  const missing: string[] = [];
  if (!env['CLAUDE_GATEWAY_IMAGE'])
    missing.push('an image in CLAUDE_GATEWAY_IMAGE (make e2e-cluster builds one)');
  if ((env['CLAUDE_GATEWAY_E2E_CLUSTER'] || 'testbed') === 'testbed') {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) missing.push('root on Linux');
    const programs = PROGRAMS.filter((name) => findKubeProgram(name, env) === undefined);
    if (programs.length > 0) missing.push(`${programs.join(', ')} (hack/cluster/programs.sh gets them)`);
  }
  if (missing.length === 0) return describe;
  console.warn(`SKIPPED: these tests need ${missing.join(' and ')}`);
  return describe.skip;
}
