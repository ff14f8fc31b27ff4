import {
  startIdentityProvider,
  startMessagesUpstream,
  startPostgres,
  type MessagesUpstream,
  type RunningIdentityProvider,
} from '@claude-gateway/dev';
import { startTcpProxy } from '../harness/tcp-proxy.ts';
import type { Cluster } from './cluster.ts';

export const CLIENT = { id: 'claude-gateway', secret: 'a-client-secret-of-the-development-idp' };

/** What a gateway in the cluster needs of the world outside, on this machine, where the pods reach it. */
export interface Site {
  readonly identityProvider: RunningIdentityProvider;
  readonly upstream: MessagesUpstream;
  /** As pods name it. */
  readonly upstreamUrl: string;
  /** As pods name it. */
  readonly databaseUrl: string;
  /** As this machine names it. */
  readonly localDatabaseUrl: string;
  /** Where people find the gateway: a port of this machine that leads to the cluster's Envoy. */
  readonly url: string;
  stop(): Promise<void>;
}

export async function startSite(cluster: Cluster): Promise<Site> {
  const { machine } = cluster;
  const envoy = await cluster.ingress();
  const front = await startTcpProxy(envoy.port, { targetHost: envoy.address });
  // A name that every machine resolves, and that an Ingress may have: it takes no address.
  const url = `http://localhost:${front.port}`;
  const [postgres, identityProvider, upstream] = await Promise.all([
    startPostgres(),
    startIdentityProvider({
      host: machine,
      clients: [
        { client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [`${url}/oauth/callback`] },
      ],
    }),
    // Slow enough to see whether somebody buffers, or cuts an answer after the 15 s that Envoy allows by default.
    startMessagesUpstream({ paceMs: 50, tokens: 350 }),
  ]);
  const database = await startTcpProxy(postgres.port, { at: machine });
  const answers = await startTcpProxy(Number(new URL(upstream.url).port), { at: machine });
  const localDatabaseUrl = await postgres.createDatabase();
  const databaseUrl = new URL(localDatabaseUrl);
  databaseUrl.hostname = machine;
  databaseUrl.port = String(database.port);
  return {
    identityProvider,
    upstream,
    upstreamUrl: `http://${machine}:${answers.port}`,
    databaseUrl: databaseUrl.href,
    localDatabaseUrl,
    url,
    async stop() {
      await Promise.all([front.stop(), database.stop(), answers.stop()]);
      await Promise.all([identityProvider.stop(), upstream.stop()]);
      await postgres.stop();
    },
  };
}
