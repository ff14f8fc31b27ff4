import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, startIdentityProvider, startPostgres } from '@claude-gateway/dev';
import { claudeCodeBinary, signIn } from '@claude-gateway/e2e';
import { pin } from './process-stats.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CLIENT = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };
const BOOT_TIMEOUT_MS = 60_000;

/** Who is measured on which CPU: the gateway has one to itself, both ends of the measurement share the other. */
export const GATEWAY_CPU = 0;
export const LOAD_CPU = 1;

/** Something that answers `POST /v1/messages`. */
export interface System {
  readonly name: 'direct' | 'reference' | 'ours';
  readonly port: number;
  readonly pid: number;
  readonly bearer: string;
}

export interface Systems {
  readonly direct: System;
  readonly reference: System;
  readonly ours: System;
  /** False when processes could not be kept on their CPUs. */
  readonly pinned: boolean;
  stop(): Promise<void>;
}

/**
 * Starts everything that a comparison needs: PostgreSQL, an identity provider, one lean upstream, the reference and
 * this gateway, each signed in to through the device flow. Output of the gateways goes to files, as a container's
 * does.
 *
 * @param against Another checkout of this gateway, in place of the reference.
 */
export async function startSystems(against?: string): Promise<Systems> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  const children: ChildProcess[] = [];
  const ports = { reference: await freePort(), ours: await freePort() };
  const postgres = await startPostgres();
  const identityProvider = await startIdentityProvider({
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: Object.values(ports).map((port) => `http://127.0.0.1:${port}/oauth/callback`),
      },
    ],
  });
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL');
    await identityProvider.stop();
    await postgres.stop();
    rmSync(directory, { recursive: true, force: true });
  };

  try {
    const upstream = await startUpstream(children);
    const launch = async (
      name: 'reference' | 'ours',
      command: string,
      args: readonly string[],
    ): Promise<System> => {
      const port = ports[name];
      const home = join(directory, name);
      mkdirSync(home);
      const document = {
        listen: { host: '127.0.0.1', port, public_url: `http://127.0.0.1:${port}` },
        oidc: {
          issuer: identityProvider.issuer,
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          scopes: ['openid', 'profile', 'email', 'offline_access', 'groups'],
        },
        session: { jwt_secret: 'a-secret-of-at-least-thirty-two-bytes-for-benchmarks', ttl_hours: 8 },
        store: { postgres_url: await postgres.createDatabase() },
        upstreams: [
          {
            provider: 'anthropic',
            base_url: `http://127.0.0.1:${upstream.port}`,
            auth: { api_key: 'sk-ant-benchmark' },
          },
        ],
      };
      const child = await launchGateway({ home, command, args, document });
      children.push(child);
      const { accessToken } = await signIn(`http://127.0.0.1:${port}`, 'alice');
      return { name, port, pid: child.pid ?? 0, bearer: accessToken };
    };

    const reference =
      against === undefined
        ? await launch('reference', claudeCodeBinary(), ['gateway'])
        : await launch('reference', process.execPath, oursIn(against));
    const ours = await launch('ours', process.execPath, OURS);
    const pinned = [
      pin(reference.pid, GATEWAY_CPU),
      pin(ours.pid, GATEWAY_CPU),
      pin(upstream.pid, LOAD_CPU),
    ].every(Boolean);
    return { direct: upstream, reference, ours, pinned, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Arguments of Node.js that run the gateway of a checkout. */
function oursIn(checkout: string): readonly string[] {
  return [
    '--conditions=source',
    '--disable-warning=ExperimentalWarning',
    join(checkout, 'gateway/src/main.ts'),
  ];
}

/** Arguments of Node.js that run this gateway. */
export const OURS = oursIn(ROOT);

/**
 * Starts a gateway and waits until it is ready. Its output goes to a file in `home`.
 *
 * @throws Error with that output when it does not start.
 */
export async function launchGateway(options: {
  /** A directory of its own. */
  readonly home: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly document: { readonly listen: { readonly port: number } };
}): Promise<ChildProcess> {
  const { home, command, args, document } = options;
  const config = join(home, 'gateway.yaml');
  const log = join(home, 'output.log');
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(document));
  const output = openSync(log, 'w');
  const child = spawn(command, [...args, '--config', config], {
    env: { PATH: process.env['PATH'], HOME: home, CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' },
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  await ready(document.listen.port, child, log);
  return child;
}

/** The upstream of a measurement, in a process of its own; see lean-upstream.ts. */
export async function startUpstream(children: ChildProcess[]): Promise<System> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'lean-upstream.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { name: 'direct', port: Number(line.toString()), pid: child.pid ?? 0, bearer: 'none' };
}

async function ready(port: number, child: ChildProcess, log: string): Promise<void> {
  const deadline = Date.now() + BOOT_TIMEOUT_MS;
  while (child.exitCode === null && Date.now() < deadline) {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    if (response?.status === 200) return;
    await sleep(50);
  }
  child.kill('SIGKILL');
  throw new Error(`a gateway did not start:\n${readFileSync(log, 'utf8')}`);
}
