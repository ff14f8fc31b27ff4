import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { findKubeProgram, freePort } from '@claude-gateway/dev';
import type { Cluster } from './cluster.ts';
import { CONTOUR } from './contour.ts';
import { execute } from './execute.ts';
import { startScript } from './script.ts';
import { takeSlot } from './slots.ts';

const SCRIPT = join(import.meta.dirname, '../../../hack/kind/cluster.sh');

/** Programs that a cluster of kind needs besides Docker, and where people get them. */
export const KIND_PROGRAMS: Readonly<Record<string, string>> = {
  kind: 'https://kind.sigs.k8s.io/docs/user/quick-start/#installation',
  kubectl: 'https://kubernetes.io/docs/tasks/tools/',
  helm: 'https://helm.sh/docs/intro/install/',
};

/**
 * Starts a cluster of kind (hack/kind/cluster.sh) and waits until its nodes and its Envoy are ready. It ends with this
 * process, however that ends; what is left of one whose Docker engine went away is deleted at the next start.
 *
 * @throws with the last lines it printed when it does not start.
 */
export async function startKind(env: NodeJS.ProcessEnv): Promise<Cluster> {
  const program = (name: string): string => {
    const found = findKubeProgram(name, env);
    if (found === undefined) throw new Error(`${name} was not found on PATH: ${KIND_PROGRAMS[name]}`);
    return found;
  };
  const [kind, kubectl, docker] = [program('kind'), program('kubectl'), env['DOCKER'] || 'docker'];
  const slot = takeSlot('claude-gateway-e2e-kind');
  const name = `claude-gateway-e2e-${slot.number}`;
  const nodes = [`${name}-worker`, `${name}-worker2`];
  try {
    const port = await freePort();
    const programs = { KIND: kind, KUBECTL: kubectl, DOCKER: docker };
    const script = await startScript(SCRIPT, [slot.directory, name, String(port)], { ...env, ...programs });
    const kubeconfig = join(slot.directory, 'admin.conf');
    return {
      name: 'kind',
      kubeconfig,
      machine: env['E2E_MACHINE_ADDRESS'] || (await machineAddress(docker, env)),
      kubectl: (args, input) => execute(kubectl, [`--kubeconfig=${kubeconfig}`, ...args], input),
      loadImage: async (reference) => {
        await execute(kind, ['load', 'docker-image', '--name', name, '--nodes', nodes.join(), reference]);
      },
      ingress: () => Promise.resolve({ ...CONTOUR, address: '127.0.0.1', port }),
      async stop() {
        await script.stop();
        slot.release();
      },
    };
  } catch (error) {
    slot.release();
    throw error;
  }
}

/**
 * An address of this machine that pods reach: the gateway of kind's network where the Docker engine shares this
 * machine's network, else (Docker Desktop, rootless Docker) this machine's own address in the network outside.
 */
async function machineAddress(docker: string, env: NodeJS.ProcessEnv): Promise<string> {
  const network = env['KIND_EXPERIMENTAL_DOCKER_NETWORK'] || 'kind';
  const format = '{{range .IPAM.Config}}{{println .Gateway}}{{end}}';
  const gateways = (await execute(docker, ['network', 'inspect', network, '--format', format])).split('\n');
  const ours = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
  const address = ours.find((candidate) => gateways.includes(candidate)) ?? ours[0];
  if (address === undefined)
    throw new Error('this machine has no address that pods reach: name one in E2E_MACHINE_ADDRESS');
  return address;
}
