import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findKubeProgram } from '@claude-gateway/dev';
import type { Cluster } from './cluster.ts';
import { CONTOUR } from './contour.ts';
import { execute } from './execute.ts';
import { startScript } from './script.ts';
import { takeSlot } from './slots.ts';

const SCRIPT = join(import.meta.dirname, '../../../hack/cluster/testbed.sh');
const NODES = ['node1', 'node2'];
const CGROUPS = '/sys/fs/cgroup';

/** Mounts, processes and networks went with the namespaces; cgroups are left. */
function clear(slot: number): void {
  for (const root of [CGROUPS, ...readdirSync(CGROUPS).map((name) => join(CGROUPS, name))]) {
    removeGroups(join(root, 'claude-gateway-e2e', String(slot)));
  }
}

function removeGroups(group: string): void {
  let names: string[];
  try {
    names = readdirSync(group);
  } catch {
    return;
  }
  for (const name of names) {
    const path = join(group, name);
    if (statSync(path).isDirectory()) removeGroups(path);
  }
  try {
    rmdirSync(group);
  } catch {
    // A process in it has not ended yet; the next start in this slot removes it.
  }
}

/**
 * Starts a whole Kubernetes on this machine (hack/cluster/testbed.sh) and waits until its nodes and its Envoy are
 * ready. It ends with this process, however that ends.
 *
 * @throws with the last lines it printed when it does not start.
 */
export async function startTestbed(): Promise<Cluster> {
  const slot = takeSlot('claude-gateway-e2e', clear);
  const { number, directory } = slot;
  const script = await startScript(SCRIPT, [directory, String(number)]).catch((error: unknown) => {
    slot.release();
    throw error;
  });
  const kubeconfig = join(directory, 'admin.conf');
  const program = (name: string): string => {
    const found = findKubeProgram(name);
    if (found === undefined) throw new Error(`${name} was not found (hack/cluster/programs.sh gets it)`);
    return found;
  };
  return {
    name: 'testbed',
    kubeconfig,
    machine: `10.${200 + number}.0.1`,
    kubectl: (args, input) => execute(program('kubectl'), [`--kubeconfig=${kubeconfig}`, ...args], input),
    loadImage: async (reference) => {
      const archive = join(directory, 'image.tar');
      await execute(process.env['DOCKER'] ?? 'docker', ['save', '--output', archive, reference]);
      const load = async (node: string): Promise<unknown> => {
        const socket = join(directory, node, 'containerd.sock');
        return execute(program('ctr'), ['-a', socket, '-n', 'k8s.io', 'images', 'import', archive]);
      };
      await Promise.all(NODES.map(load));
      rmSync(archive);
    },
    // Contour has Envoy listen 8000 above the port of the Gateway.
    ingress: () => Promise.resolve({ ...CONTOUR, address: `10.${200 + number}.0.2`, port: 8080 }),
    async stop() {
      await script.stop();
      slot.release();
    },
  };
}
