import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startIdentityProvider } from '@claude-gateway/dev';
import { AdminClient, claudeCodeBinary, mintBearer, type Cap } from '@claude-gateway/e2e';
import type { MeasuredPostgres } from './caps-database.ts';
import { pin } from './process-stats.ts';
import { GATEWAY_CPU, launchGateway, OURS, type System } from './systems.ts';

const CLIENT = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };
const JWT_SECRET = 'a-secret-of-at-least-thirty-two-bytes-for-benchmarks';
const WRITE_KEY = 'a-key-of-at-least-thirty-two-characters-to-write';
const PUBLIC_URL = 'http://127.0.0.1:65535';
/** How long until new caps are in force. */
const ENFORCED_WITHIN_MS = 3_000;

export const MANY_USERS = 10_000;

/** What is compared: whose program, and whether there are caps. */
export const VARIANTS = [
  'ours, caps off',
  'ours, caps on',
  'reference, caps off',
  'reference, caps on',
] as const;
export type Variant = (typeof VARIANTS)[number];

/** The gateways of one variant, all of which share a CPU. */
export interface Contestant {
  readonly variant: Variant;
  readonly ports: readonly number[];
  readonly pids: readonly number[];
  readonly databaseUrl: string;
  readonly bearer: string;
  /** One token for each of {@link MANY_USERS}. */
  readonly bearersFile: string;
  /** @returns such a file, of people who have never sent a request. */
  readonly newBearersFile: () => string;
}

export interface Contest {
  readonly contestants: readonly Contestant[];
  /** False when processes could not be kept on their CPUs. */
  readonly pinned: boolean;
  stop(): Promise<void>;
}

/** Caps that are never reached: what is measured is the asking. */
const PER_MEMBER: Cap = {
  scope: { type: 'organization' },
  period: 'daily',
  unit: 'nano_usd',
  amount: 10_000_000_000_000n,
};
const HOT_POOL: Cap = {
  scope: { type: 'organization' },
  period: 'monthly',
  unit: 'nano_usd',
  amount: 1_000_000_000_000_000n,
  pooled: true,
};

/** Starts so many replicas of each variant, each variant on a database of its own. */
export async function startContest(options: {
  readonly replicas: number;
  readonly variants: readonly Variant[];
  readonly postgres: MeasuredPostgres;
  readonly upstream: System;
}): Promise<Contest> {
  const { postgres, upstream } = options;
  const directory = mkdtempSync(join(tmpdir(), 'bench-caps-'));
  const children: ChildProcess[] = [];
  const identityProvider = await startIdentityProvider({
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [`${PUBLIC_URL}/oauth/callback`],
      },
    ],
  });
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL');
    await identityProvider.stop();
    rmSync(directory, { recursive: true, force: true });
  };

  const launch = async (variant: Variant): Promise<Contestant> => {
    const isOurs = variant.startsWith('ours');
    const capped = variant.endsWith('caps on');
    const databaseUrl = await postgres.server.createDatabase();
    const [command, args] = isOurs ? [process.execPath, OURS] : [claudeCodeBinary(), ['gateway']];
    const ports: number[] = [];
    const pids: number[] = [];
    for (let i = 0; i < options.replicas; i++) {
      const port = await freePort();
      const home = join(directory, `${variant} ${i}`);
      mkdirSync(home);
      const document = {
        listen: { host: '127.0.0.1', port, public_url: PUBLIC_URL },
        oidc: { issuer: identityProvider.issuer, client_id: CLIENT.id, client_secret: CLIENT.secret },
        session: { jwt_secret: JWT_SECRET, ttl_hours: 8 },
        store: { postgres_url: databaseUrl },
        upstreams: [
          {
            provider: 'anthropic',
            base_url: `http://127.0.0.1:${upstream.port}`,
            auth: { api_key: 'sk-ant-benchmark' },
          },
        ],
        ...(capped ? { admin: { write_keys: [{ id: 'bench', key: WRITE_KEY }] } } : {}),
      };
      const child = await launchGateway({ home, command, args, document });
      children.push(child);
      ports.push(port);
      pids.push(child.pid ?? 0);
    }
    if (capped) {
      const admin = new AdminClient(() => `http://127.0.0.1:${ports[0]}`, WRITE_KEY);
      for (const cap of isOurs ? [PER_MEMBER, HOT_POOL] : [PER_MEMBER]) await admin.set(cap);
      await new Promise((done) => setTimeout(done, ENFORCED_WITHIN_MS));
    }
    const mint = (sub: string): string =>
      mintBearer(
        { sub, email: `${sub}@corp.example`, groups: ['eng'] },
        { secret: JWT_SECRET, issuer: PUBLIC_URL, program: isOurs ? 'ours' : 'reference' },
      );
    let people = 0;
    const newBearersFile = (): string => {
      const file = join(directory, `${variant} ${people}.bearers`);
      const bearers = Array.from({ length: MANY_USERS }, () => mint(`user-${people++}`));
      writeFileSync(file, bearers.join('\n'));
      return file;
    };
    const bearersFile = newBearersFile();
    return { variant, ports, pids, databaseUrl, bearer: mint('alice'), bearersFile, newBearersFile };
  };

  try {
    const contestants: Contestant[] = [];
    for (const variant of options.variants) contestants.push(await launch(variant));
    const pinned = contestants.flatMap(({ pids }) => pids).map((pid) => pin(pid, GATEWAY_CPU));
    return { contestants, pinned: pinned.every(Boolean), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
