import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { SignJWT, exportJWK, type JWTPayload } from 'jose';
import type { ProxyOptions } from '../../../net/http-client.ts';
import { createTestCa } from '../../../net/testing/certificates.ts';
import { createLog } from '../../../observe/log.ts';
import type { OidcProvider, SignedIn } from '../provider.ts';
import { createOidcProvider, type OidcProviderDependencies } from '../relying-party.ts';
import type { OidcSettings } from '../settings.ts';

export interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Sent as JSON, or as it is when it is a text. */
  readonly body: unknown;
}

export interface RecordedRequest {
  readonly url: URL;
  readonly method: string;
  readonly form: URLSearchParams;
  readonly authorization: string | undefined;
}

export type Route = (request: RecordedRequest) => Answer | Promise<Answer>;

export const SECRETS = { state: 'state-1', nonce: 'nonce-1', codeVerifier: 'v'.repeat(43) };
export const REDIRECT_URI = 'https://gateway.corp.example/oauth/callback';
export const NO_RETRY = { attempts: 1, delayMs: 0 };

type Metadata = Record<string, unknown> & { issuer: string; token_endpoint: string; jwks_uri: string };

/**
 * An identity provider with a recorded discovery document, served over TLS under its real host names: the relying
 * party reaches it through a CONNECT proxy that sends every name to this server, and trusts a private authority.
 */
export interface RecordedIssuer {
  readonly metadata: Metadata;
  readonly ca: string;
  readonly proxy: ProxyOptions;
  /** Every `host:port` that the proxy was asked for. */
  readonly tunnels: string[];
  /** Lines of the operational log. */
  readonly logged: Record<string, unknown>[];
  /** Requests other than for keys and discovery. */
  readonly requests: RecordedRequest[];
  /** Replaces what an absolute URL answers. */
  route(url: string, route: Route | Answer): void;
  /** Signs an ID token; defaults make a good one. */
  idToken(claims: JWTPayload, header?: { alg?: string; kid?: string; key?: KeyObject }): Promise<string>;
  /** Replaces the signing key, as providers do now and then. */
  rotateKey(): Promise<void>;
  provider(settings?: Partial<OidcSettings>, deps?: Partial<OidcProviderDependencies>): Promise<OidcProvider>;
  /** A whole sign-in whose token endpoint answers with these claims. */
  signIn(provider: OidcProvider, claims: JWTPayload, tokens?: Record<string, unknown>): Promise<SignedIn>;
  stop(): Promise<void>;
}

export function readFixture(name: string): Metadata {
  const text = readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), 'utf8');
  return JSON.parse(text) as Metadata;
}

export async function startRecordedIssuer(metadata: Metadata): Promise<RecordedIssuer> {
  const hosts = new Set(
    Object.values(metadata)
      .filter((value): value is string => typeof value === 'string' && value.startsWith('https://'))
      .map((value) => new URL(value.replace('{tenantid}', 'common')).hostname),
  );
  const ca = createTestCa();
  const routes = new Map<string, Route>();
  const requests: RecordedRequest[] = [];
  const logged: Record<string, unknown>[] = [];
  const tunnels: string[] = [];
  let signing = await newSigningKey();

  const server = createTlsServer(ca.issue(...hosts, 'admin.googleapis.com'), (request, response) => {
    void answer(request, response);
  });
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const recorded: RecordedRequest = {
      url: new URL(request.url ?? '/', `https://${request.headers.host}`),
      method: request.method ?? '',
      form: new URLSearchParams(body),
      authorization: request.headers.authorization,
    };
    const route = routes.get(`${recorded.url.origin}${recorded.url.pathname}`);
    if (route !== documentRoute && route !== keysRoute) requests.push(recorded);
    const {
      status = 200,
      headers,
      body: content,
    } = route === undefined ? { status: 404, body: 'no' } : await route(recorded);
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof content === 'string' ? content : JSON.stringify(content));
  }
  const tlsPort = await listen(server);

  const proxyServer = createServer();
  proxyServer.on('connect', (request: IncomingMessage, socket: Socket) => {
    tunnels.push(request.url ?? '');
    const upstream = connect(tlsPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  const proxy: ProxyOptions = {
    httpsProxy: `http://127.0.0.1:${await listen(proxyServer)}`,
    resolve: 'proxy',
  };

  const documentRoute: Route = () => ({ body: metadata });
  const keysRoute: Route = () => ({ body: { keys: [signing.jwk] } });
  const wellKnown = '/.well-known/openid-configuration';
  routes.set(metadata.issuer.replace('{tenantid}', 'organizations') + wellKnown, documentRoute);
  routes.set(metadata.jwks_uri, keysRoute);

  const issuer: RecordedIssuer = {
    metadata,
    ca: ca.cert,
    proxy,
    tunnels,
    logged,
    requests,
    route: (url, route) => void routes.set(url, typeof route === 'function' ? route : () => route),
    idToken: (claims, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const payload = {
        iss: metadata.issuer,
        aud: 'gw',
        iat: now,
        exp: now + 300,
        nonce: SECRETS.nonce,
        ...claims,
      };
      return new SignJWT(payload)
        .setProtectedHeader({ alg: header.alg ?? 'RS256', kid: header.kid ?? signing.kid })
        .sign(header.key ?? signing.key);
    },
    rotateKey: async () => {
      signing = await newSigningKey();
    },
    provider: (settings, deps) =>
      createOidcProvider(
        {
          issuer: metadata.issuer.replace('{tenantid}', 'organizations'),
          client_id: 'gw',
          client_secret: 'gw-secret',
          ca_cert_pem: ca.cert,
          use_proxy: true,
          ...settings,
        },
        {
          id: 'default',
          redirectUri: REDIRECT_URI,
          allowLoopback: false,
          proxy,
          clock: () => new Date(),
          log: createLog('info', {
            write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>),
          }),
          retry: NO_RETRY,
          ...deps,
        },
      ),
    signIn: async (provider, claims, tokens = {}) => {
      const idToken = await issuer.idToken(claims);
      issuer.route(metadata.token_endpoint, {
        body: {
          access_token: 'access-1',
          token_type: 'Bearer',
          expires_in: 3600,
          id_token: idToken,
          ...tokens,
        },
      });
      return provider.exchange(callback({ code: 'code-1', iss: metadata.issuer }), SECRETS);
    },
    stop: async () => {
      await Promise.all([server, proxyServer].map(close));
    },
  };
  return issuer;
}

/** The URL that the browser comes back to. */
export function callback(parameters: Record<string, string>): URL {
  const url = new URL(REDIRECT_URI);
  url.search = new URLSearchParams({ state: SECRETS.state, ...parameters }).toString();
  return url;
}

async function newSigningKey(): Promise<{ key: KeyObject; kid: string; jwk: object }> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = randomUUID();
  return { key: privateKey, kid, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig' } };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function close(server: Server & { closeAllConnections?: () => void }): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections?.();
  });
}
