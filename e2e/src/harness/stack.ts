import {
  freePort,
  startIdentityProvider,
  startMessagesUpstream,
  startPostgres,
  type RunningIdentityProvider,
  type RunningPostgres,
} from '@claude-gateway/dev';
import { GatewayProcess, type GatewayDocument, type GatewayProgram } from './gateway-process.ts';
import { startRoundRobin } from './round-robin.ts';

export interface Stack {
  /** Where clients go: the balancer with several replicas, the gateway itself with one. */
  readonly url: string;
  readonly replicas: readonly GatewayProcess[];
  readonly postgres: RunningPostgres;
  readonly identityProvider: RunningIdentityProvider;
  readonly upstream: Awaited<ReturnType<typeof startMessagesUpstream>>;
  /** The document that replica `index` was started with, for {@link GatewayProcess.reconfigure}. */
  document(index?: number): GatewayDocument;
  stop(): Promise<void>;
}

export interface StackOptions {
  readonly replicas?: number;
  /** Sections put over the defaults; see {@link defaults}. */
  readonly config?: Record<string, unknown>;
  /** What replicas run; the gateway of this checkout when absent. */
  readonly program?: GatewayProgram;
}

/** PostgreSQL, an identity provider, an upstream and gateways, all real and all on loopback. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const count = options.replicas ?? 1;
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  const balancerPort = count > 1 ? await freePort() : undefined;
  const publicUrl = `http://127.0.0.1:${balancerPort ?? ports[0]}`;
  const [postgres, identityProvider, upstream] = await Promise.all([
    startPostgres(),
    startIdentityProvider({
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          redirect_uris: [`${publicUrl}/oauth/callback`],
        },
      ],
    }),
    startMessagesUpstream(),
  ]);
  const databaseUrl = await postgres.createDatabase();
  const documents = ports.map((port) => ({
    ...defaults({ issuer: identityProvider.issuer, databaseUrl, upstreamUrl: upstream.url }),
    listen: { host: '127.0.0.1', port, public_url: publicUrl },
    ...options.config,
  }));
  const replicas = await Promise.all(
    documents.map((document) => GatewayProcess.start(document, {}, options.program)),
  );
  const balancer =
    balancerPort === undefined
      ? undefined
      : await startRoundRobin(
          replicas.map((replica) => replica.url),
          balancerPort,
        );
  return {
    url: publicUrl,
    replicas,
    postgres,
    identityProvider,
    upstream,
    document: (index = 0) => documents[index] as GatewayDocument,
    async stop() {
      await balancer?.stop();
      await Promise.all(replicas.map((replica) => replica.stop()));
      await Promise.all([identityProvider.stop(), upstream.stop()]);
      await postgres.stop();
    },
  };
}

const CLIENT = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };

function defaults(of: { issuer: string; databaseUrl: string; upstreamUrl: string }): Record<string, unknown> {
  return {
    oidc: {
      issuer: of.issuer,
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      scopes: ['openid', 'profile', 'email', 'offline_access', 'groups'],
    },
    session: { jwt_secret: 'a-secret-of-at-least-thirty-two-bytes-for-tests' },
    store: { postgres_url: of.databaseUrl },
    upstreams: [
      { provider: 'anthropic', base_url: of.upstreamUrl, auth: { api_key: 'sk-ant-upstream-credential' } },
    ],
    managed: {
      policies: [
        {
          match: { groups: ['contractors'] },
          cli: { availableModels: ['claude-haiku-4-5'], enforceAvailableModels: true },
        },
        { match: {}, cli: { permissions: { deny: ['WebFetch'] } } },
      ],
    },
    // All devices and browsers of a test have one address.
    rate_limits: {
      device_authorization: { max: 1000 },
      device_verify: { max: 1000 },
      token: { max: 10_000 },
      sign_in_pages: { max: 10_000 },
    },
  };
}
