import {
  freePort,
  startIdentityProvider,
  startPgBouncer,
  startPostgres,
  type PoolMode,
  type RunningPostgres,
} from '@claude-gateway/dev';
import { mintBearer } from '../harness/bearer.ts';
import { GatewayProcess, ours, reference, type GatewayDocument } from '../harness/gateway-process.ts';
import { startTcpProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { AdminClient, type Developer } from './caps.ts';

const CLIENT = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };
const JWT_SECRET = 'a-secret-of-at-least-thirty-two-bytes-for-tests';
export const WRITE_KEY = 'a-key-of-at-least-thirty-two-characters-to-write';
/** Every gateway says that it is here, whatever port it listens on: tokens are good at all of them. */
const PUBLIC_URL = 'http://127.0.0.1:65535';

export interface FleetOptions {
  readonly replicas: number;
  readonly upstreamUrl: string;
  /** Whose program. Default `ours`. */
  readonly program?: 'ours' | 'reference';
  /** Sections put over the defaults. */
  readonly config?: Record<string, unknown>;
  /** A file whose content moves the clocks of all gateways; see moved-clock.ts. */
  readonly clockFile?: string;
  /** Leave the section `admin` out: no limits. */
  readonly withoutAdmin?: boolean;
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** A connection pooler between the network and PostgreSQL. */
  readonly pooler?: PoolMode;
}

/** One gateway of several, which may be killed and comes back on the same port. */
export class Replica {
  readonly url: string;
  readonly port: number;
  /** `performance.now()` of each time it was killed. */
  readonly killedAt: number[] = [];
  readonly #launch: () => Promise<GatewayProcess>;
  #process: GatewayProcess | undefined;

  constructor(port: number, launch: () => Promise<GatewayProcess>) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#launch = launch;
  }

  get up(): boolean {
    return this.#process !== undefined;
  }

  get process(): GatewayProcess {
    if (this.#process === undefined) throw new Error(`${this.url} is not running`);
    return this.#process;
  }

  async start(): Promise<void> {
    this.#process = await this.#launch();
  }

  /** `kill -9`: no goodbye to anybody. */
  async kill(): Promise<void> {
    const process = this.process;
    this.#process = undefined;
    this.killedAt.push(performance.now());
    await process.stop('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }
}

export interface Fleet {
  readonly replicas: readonly Replica[];
  readonly postgres: RunningPostgres;
  /** Between the gateways and PostgreSQL. */
  readonly network: TcpProxy;
  /** Straight to the database, past {@link network}. */
  readonly databaseUrl: string;
  readonly admin: AdminClient;
  /** @param now When it is issued, in ms since the epoch, for gateways whose clocks are moved. */
  bearer(developer: Developer, now?: number): string;
  stop(): Promise<void>;
}

/** PostgreSQL, several gateways on it, and nothing between them and whoever asks. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const program = options.program ?? 'ours';
  const [postgres, identityProvider] = await Promise.all([
    startPostgres({ settings: options.postgresSettings ?? {} }),
    startIdentityProvider({
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          redirect_uris: [`${PUBLIC_URL}/oauth/callback`],
        },
      ],
    }),
  ]);
  const databaseUrl = await postgres.createDatabase();
  const pooler =
    options.pooler === undefined
      ? undefined
      : await startPgBouncer({ postgresUrl: postgres.url, mode: options.pooler });
  const network = await startTcpProxy(pooler?.port ?? postgres.port);
  // Last: a port that is free is free until the next program asks for any.
  const ports = await Promise.all(Array.from({ length: options.replicas }, freePort));
  const throughNetwork = new URL(databaseUrl);
  throughNetwork.port = String(network.port);
  const documentOf = (port: number): GatewayDocument => ({
    listen: { host: '127.0.0.1', port, public_url: PUBLIC_URL },
    oidc: {
      issuer: identityProvider.issuer,
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      scopes: ['openid', 'profile', 'email', 'offline_access', 'groups'],
    },
    session: { jwt_secret: JWT_SECRET },
    store: { postgres_url: throughNetwork.href },
    upstreams: [
      {
        provider: 'anthropic',
        base_url: options.upstreamUrl,
        auth: { api_key: 'sk-ant-upstream-credential' },
      },
    ],
    ...(options.withoutAdmin === true ? {} : { admin: { write_keys: [{ id: 'test', key: WRITE_KEY }] } }),
    ...options.config,
  });
  const env = options.clockFile === undefined ? {} : { MOVED_CLOCK_FILE: options.clockFile };
  const clock =
    options.clockFile === undefined
      ? undefined
      : new URL('../harness/moved-clock.ts', import.meta.url).pathname;
  const replicas = ports.map(
    (port) =>
      new Replica(port, () =>
        GatewayProcess.start(documentOf(port), env, program === 'ours' ? ours(clock) : reference()),
      ),
  );
  const stop = async (): Promise<void> => {
    await Promise.allSettled(replicas.map((replica) => replica.stop()));
    await Promise.allSettled([identityProvider.stop(), network.stop(), pooler?.stop()]);
    await postgres.stop();
  };
  const started = await Promise.allSettled(replicas.map((replica) => replica.start()));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  return {
    replicas,
    postgres,
    network,
    databaseUrl,
    admin: new AdminClient(() => (replicas.find(({ up }) => up) ?? replicas[0])?.url ?? '', WRITE_KEY),
    bearer: ({ sub, groups }, now = Date.now()) =>
      mintBearer(
        { sub, email: `${sub}@corp.example`, groups },
        { secret: JWT_SECRET, issuer: PUBLIC_URL, program },
        now,
      ),
    stop,
  };
}
