import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findKubeProgram } from '@claude-gateway/dev';
import type { Cluster, ClusterIngress } from './cluster.ts';
import { execute } from './execute.ts';

/** The settings of the current context that have no default. */
export const CURRENT_CONTEXT_SETTINGS = [
  'E2E_INGRESS_ADDRESS',
  'E2E_INGRESS_CLASS',
  'E2E_GATEWAY_CLASS',
  'E2E_GATEWAY',
  'E2E_MACHINE_ADDRESS',
];

/**
 * The cluster that kubectl talks to at this moment. E2E_INGRESS_ADDRESS (host or host:port), E2E_INGRESS_CLASS,
 * E2E_GATEWAY_CLASS and E2E_GATEWAY (namespace/name) say how its Envoy is reached; E2E_MACHINE_ADDRESS is an address of
 * this machine that its pods reach. E2E_LOAD_IMAGE is a command that brings the image whose name is appended to it to
 * the cluster, such as `docker push`.
 *
 * @throws when one of these is missing, or there is no such cluster.
 */
export async function startCurrentContext(env: NodeJS.ProcessEnv): Promise<Cluster> {
  const named = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === '') throw new Error(`the current context needs ${name}`);
    return value;
  };
  const machine = named('E2E_MACHINE_ADDRESS');
  const load = (env['E2E_LOAD_IMAGE'] ?? '').split(' ').filter((word) => word !== '');
  const ingress = ingressOf(named);
  const program = findKubeProgram('kubectl', env);
  if (program === undefined) throw new Error('kubectl was not found on PATH');

  // A copy: people change their current context while tests run.
  const current = await execute(program, ['config', 'view', '--raw', '--flatten', '--minify'], '', env);
  const directory = mkdtempSync(join(tmpdir(), 'claude-gateway-e2e-current-'));
  const kubeconfig = join(directory, 'admin.conf');
  writeFileSync(kubeconfig, current, { mode: 0o600 });
  return {
    name: 'current-context',
    kubeconfig,
    machine,
    loadImage: async (reference) => {
      const [command, ...args] = load;
      if (command !== undefined) await execute(command, [...args, reference]);
    },
    ingress: () => Promise.resolve(ingress),
    kubectl: (args, input) => execute(program, [`--kubeconfig=${kubeconfig}`, ...args], input),
    stop: () => Promise.resolve(rmSync(directory, { recursive: true, force: true })),
  };
}

function ingressOf(named: (name: string) => string): ClusterIngress {
  const given = named('E2E_INGRESS_ADDRESS');
  const [, address = '', port = '80'] = /^(.+?)(?::(\d+))?$/.exec(given) ?? [];
  const [namespace, name, ...more] = named('E2E_GATEWAY').split('/');
  if (!namespace || !name || more.length > 0) throw new Error('E2E_GATEWAY is namespace/name');
  return {
    address,
    port: Number(port),
    ingressClass: named('E2E_INGRESS_CLASS'),
    gatewayClass: named('E2E_GATEWAY_CLASS'),
    gateway: { namespace, name },
  };
}
