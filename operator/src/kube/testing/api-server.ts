import { ApiServer, findKubeProgram, type ApiServerAccess } from '@claude-gateway/dev';
import { describe } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';

/** `describe` where etcd and kube-apiserver are at hand; elsewhere skipped, loudly. */
export function describeWithApiServer(): typeof describe | typeof describe.skip {
  const missing = ApiServer.PROGRAMS.filter((name) => findKubeProgram(name) === undefined);
  if (missing.length === 0) return describe;
  const message = `these tests need ${missing.join(' and ')}: name their directory in KUBE_BIN_DIR`;
  process.stderr.write(`SKIPPED: ${message}\n`);
  return describe.skip;
}

/** How @kubernetes/client-node reaches a server. */
export function configOf(server: ApiServer, access: ApiServerAccess = {}): KubeConfig {
  const config = new KubeConfig();
  config.loadFromString(JSON.stringify(server.kubeconfig(access)));
  return config;
}
