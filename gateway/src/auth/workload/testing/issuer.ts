import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose';

/** An issuer of workload tokens as CI platforms and Kubernetes API servers are one: discovery, keys, signatures. */
export interface TestIssuer {
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly requests: string[];
  /** From now on tokens are signed with a new key; the old one stays published unless `withdraw`. */
  rotate(options?: { withdraw?: boolean }): Promise<void>;
  /** Answers everything with this status instead, until undefined. */
  fail(status: number | undefined): void;
  sign(payload: JWTPayload, header?: { alg?: string; kid?: string }): Promise<string>;
  stop(): Promise<void>;
}

interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export async function startIssuer(
  options: { alg?: string; tls?: { cert: string; key: string }; host?: string; issuer?: string } = {},
): Promise<TestIssuer> {
  const { alg = 'RS256', tls, host = '127.0.0.1' } = options;
  const requests: string[] = [];
  let made = 0;
  let failure: number | undefined;

  const createKey = async (): Promise<SigningKey> => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const kid = `key-${++made}`;
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
  };
  let current = await createKey();
  let published = [current.jwk];

  const answer: RequestListener = (request: IncomingMessage, response) => {
    requests.push(request.url ?? '');
    if (failure !== undefined) {
      response.writeHead(failure).end('out of order');
      return;
    }
    const documents: Record<string, object> = {
      '/.well-known/openid-configuration': {
        issuer: options.issuer ?? url,
        jwks_uri: `${url}/openid/v1/jwks`,
      },
      '/openid/v1/jwks': { keys: published },
    };
    const document = documents[request.url ?? ''];
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document ?? {}));
  };
  const server: Server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `${tls === undefined ? 'http' : 'https'}://${host}:${port}`;

  return {
    url,
    requests,
    rotate: async ({ withdraw = false } = {}) => {
      current = await createKey();
      published = withdraw ? [current.jwk] : [...published, current.jwk];
    },
    fail: (status) => (failure = status),
    sign: (payload, header = {}) =>
      new SignJWT(payload)
        .setProtectedHeader({ alg, kid: current.kid, typ: 'JWT', ...header })
        .sign(current.privateKey),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
