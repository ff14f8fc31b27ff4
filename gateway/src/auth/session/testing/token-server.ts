import { randomBytes, randomUUID } from 'node:crypto';
import { Router } from 'express';
import { gatewayConfigSchema } from '@claude-gateway/contract';
import type { Identity, Store } from '@claude-gateway/prisma';
import { AddressSet } from '../../../http/client-address.ts';
import { createApp } from '../../../http/app.ts';
import { contextOf } from '../../../http/context.ts';
import { USUAL_TRAFFIC } from '../../../http/testing/usual-traffic.ts';
import { Listener } from '../../../http/listener.ts';
import { createLog, type Log } from '../../../observe/log.ts';
import type { OidcProvider } from '../../oidc/provider.ts';
import { Authenticator } from '../authenticator.ts';
import { DEVICE_CODE_GRANT } from '../device-code-grant.ts';
import type { Grant } from '../grant.ts';
import { createSignInLimits, type SignInLimits } from '../../limits/sign-in-limits.ts';
import { createRefreshTokens } from '../refresh-token.ts';
import { createSealer, IDP_REFRESH_TOKEN } from '../sealer.ts';
import { createTokenRouter } from '../token-endpoint.ts';
import { createTokens, type Tokens } from '../tokens.ts';
import { digest } from '../../digest.ts';

export const SECRET = 'a-secret-of-at-least-thirty-two-bytes!!';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

export interface AuditLine {
  readonly event: string;
  readonly fields: Record<string, unknown>;
}

/** One replica: the real listener and application around the token router, and one endpoint that wants a bearer. */
export interface TokenServer {
  readonly url: string;
  readonly events: AuditLine[];
  readonly logged: string[];
  /** @param form A text is sent as it is. */
  post(
    path: string,
    form: Record<string, string> | string,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  get(path: string): Promise<Answer>;
  /** The status of a request with this bearer; 200 names the holder. */
  use(bearer: unknown): Promise<Answer>;
  stop(): Promise<void>;
}

export interface TokenServerOptions {
  readonly store: Store;
  readonly clock?: () => Date;
  readonly secrets?: readonly string[];
  readonly limits?: SignInLimits;
  readonly provider?: Pick<OidcProvider, 'refresh'> | undefined;
  readonly tokenExchange?: (parts: {
    tokens: Tokens;
    audit: (event: string, fields: Record<string, unknown>) => void;
    log: Log;
  }) => Grant;
}

const DEFAULT_LIMITS = gatewayConfigSchema.shape.rate_limits.parse(undefined);

export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { store, clock = () => new Date(), secrets = [SECRET] } = options;
  const events: AuditLine[] = [];
  const logged: string[] = [];
  const audit = (event: string, fields: Record<string, unknown>): void => void events.push({ event, fields });
  const log = createLog('info', { write: (line: string) => logged.push(line) });
  // Not where it listens: behind a balancer every replica is known by the one public address.
  const publicUrl = 'https://gateway.corp.example';
  const tokens = createTokens({ secrets, ttlSeconds: 3600, issuer: publicUrl, clock });
  const authenticator = new Authenticator({ tokens, revocations: store.revocations, audit, clock });
  const app = createApp([
    createTokenRouter({
      deviceGrants: store.deviceGrants,
      sessions: store.sessions,
      tokens,
      refreshTokens: createRefreshTokens(secrets),
      limits: options.limits ?? createSignInLimits(DEFAULT_LIMITS, clock),
      revocations: store.revocations,
      sealer: createSealer(secrets),
      provider: (id) => (id === 'corp' ? options.provider : undefined),
      audit,
      clock,
      publicUrl,
      tokenExchange: options.tokenExchange?.({ tokens, audit, log }),
    }),
    Router().get('/v1/models', async (request, response) => {
      response.json(await authenticator.authenticate(request.headers, contextOf(request)));
    }),
  ]);
  const nobody = new AddressSet([]);
  const listener = new Listener(
    { host: '127.0.0.1', port: 0, maxHeaderBytes: undefined, log, audit },
    { trustedProxies: nobody, allow: nobody, deny: nobody, maxUrlLength: undefined, traffic: USUAL_TRAFFIC },
    (request, response) => void app(request, response),
  );
  const url = `http://127.0.0.1:${await listener.listen()}`;

  const ask = async (path: string, init: RequestInit): Promise<Answer> => {
    const response = await fetch(url + path, init);
    const text = await response.text();
    const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status: response.status, headers: response.headers, body, text };
  };
  return {
    url,
    events,
    logged,
    post: (path, form, headers = {}) =>
      ask(path, {
        method: 'POST',
        body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      }),
    get: (path) => ask(path, {}),
    use: (bearer) => ask('/v1/models', { headers: { authorization: `Bearer ${String(bearer)}` } }),
    stop: async () => {
      await listener.drain(0, 0);
    },
  };
}

/** A device whose code waits for approval in the store. @returns its device code. */
export async function waitingDevice(
  store: Store,
  now: Date,
): Promise<{ deviceCode: string; grantId: string }> {
  const deviceCode = randomBytes(32).toString('base64url');
  const userCode = randomUUID();
  await store.deviceGrants.create({
    deviceCodeHash: digest(deviceCode),
    userCodeHash: digest(userCode),
    surface: 'claude_code',
    clientAddress: '192.0.2.7',
    createdAt: now,
    expiresAt: new Date(now.getTime() + 600_000),
    intervalSeconds: 5,
  });
  const grant = await store.deviceGrants.findByUserCode(digest(userCode), now);
  return { deviceCode, grantId: grant!.id };
}

/** A person signed in on a device. @returns the answer of the token endpoint. */
export async function signIn(
  server: TokenServer,
  store: Store,
  identity: Partial<Identity>,
  idpRefreshToken: string | null,
  now = new Date(),
): Promise<Answer> {
  const { deviceCode, grantId } = await waitingDevice(store, now);
  const person: Identity = {
    sub: 'alice',
    provider: 'corp',
    email: 'alice@corp.example',
    name: 'Alice Engineer',
    groups: ['eng'],
    ...identity,
  };
  const sealed =
    idpRefreshToken === null ? null : createSealer([SECRET]).seal(IDP_REFRESH_TOKEN, idpRefreshToken);
  await store.deviceGrants.approve(grantId, person, sealed, now);
  return server.post('/oauth/token', { grant_type: DEVICE_CODE_GRANT, device_code: deviceCode });
}
