import { spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findKubeProgram } from '../testbed/api-server.ts';
import type { Cluster } from './cluster.ts';
import { execute } from './execute.ts';

const SCRIPT = join(import.meta.dirname, '../../../hack/cluster/testbed.sh');
const NODES = ['node1', 'node2'];
const SLOTS = 16;
const CGROUPS = '/sys/fs/cgroup';

/** Whether a process of this id runs; one that only waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * Takes one of the places for a cluster on this machine, each with networks of its own, and clears away what a test
 * that was killed left in it.
 *
 * @returns its number and directory.
 */
function takeSlot(): { slot: number; directory: string } {
  for (let slot = 0; slot < SLOTS; slot++) {
    const directory = join(tmpdir(), `claude-gateway-e2e-${slot}`);
    const owner = `${directory}.pid`;
    for (let tries = 0; tries < 2; tries++) {
      try {
        const file = openSync(owner, 'wx');
        writeFileSync(file, String(process.pid));
        closeSync(file);
        clear(slot, directory);
        return { slot, directory };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        const content = readFileSync(owner, 'utf8');
        // Empty: somebody is taking it this very moment.
        if (content === '' || runs(Number(content))) break;
        rmSync(owner, { force: true });
      }
    }
  }
  throw new Error(`${SLOTS} clusters run on this machine already`);
}

/** Mounts, processes and networks went with the namespaces; files and cgroups are left. */
function clear(slot: number, directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
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
  const { slot, directory } = takeSlot();
  mkdirSync(directory);
  const child = spawn(SCRIPT, [directory, String(slot)], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', resolve).once('error', resolve));
  child.stdin.on('error', () => undefined);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= end());
  const end = async (): Promise<void> => {
    child.stdin.end();
    await ended;
    clear(slot, directory);
    rmSync(`${directory}.pid`, { force: true });
  };
  const ready = new Promise<boolean>((resolve) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (/^ready$/m.test(output)) resolve(true);
    });
    void ended.then(() => resolve(false));
  });
  if (!(await ready)) {
    await stop();
    throw new Error(`the test bed did not start: ${said.slice(-2000)}`);
  }

  const kubeconfig = join(directory, 'admin.conf');
  const program = (name: string): string => {
    const found = findKubeProgram(name);
    if (found === undefined) throw new Error(`${name} was not found (hack/cluster/programs.sh gets it)`);
    return found;
  };
  return {
    name: 'testbed',
    kubeconfig,
    machine: `10.${200 + slot}.0.1`,
    kubectl: (args, input) => execute(program('kubectl'), [`--kubeconfig=${kubeconfig}`, ...args], input),
    loadImage: async (reference) => {
      const archive = join(directory, 'image.tar');
      await execute(process.env['DOCKER'] ?? 'docker', ['save', '--output', archive, reference]);
      for (const node of NODES) {
        const socket = join(directory, node, 'containerd.sock');
        await execute(program('ctr'), ['-a', socket, '-n', 'k8s.io', 'images', 'import', archive]);
      }
      rmSync(archive);
    },
    ingress: () =>
      Promise.resolve({
        address: `10.${200 + slot}.0.2`,
        // Contour has Envoy listen 8000 above the port of the Gateway.
        port: 8080,
        ingressClass: 'contour',
        gatewayClass: 'contour',
        gateway: { namespace: 'projectcontour', name: 'contour' },
      }),
    stop,
  };
}
