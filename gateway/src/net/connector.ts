import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { hostRefusal } from '@claude-gateway/contract';
import { buildConnector } from 'undici';
import { ignoreInterim } from './interim-responses.ts';
import { compileProxyChoice, proxyCredentials, type ProxyOptions } from './proxy-choice.ts';
import { BlockedDestinationError, checkedAddresses, guardedLookup, type GuardOptions } from './ssrf-guard.ts';

export interface ConnectorOptions extends GuardOptions {
  /** PEM certificates that replace the system's trust store for destinations (never for the proxy itself). */
  readonly caPem?: string;
  readonly proxy?: ProxyOptions;
  readonly connectTimeoutMs: number;
  readonly allowH2: boolean;
}

/**
 * Opens connections for undici: every destination is judged by the SSRF guard, and the socket goes to the address
 * that was judged, directly or through a CONNECT tunnel. The proxy's own address is not judged: the operator of the
 * process chose it in its environment, and it is often a loopback sidecar.
 */
export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const connect = buildConnector({
    timeout: options.connectTimeoutMs,
    allowH2: options.allowH2,
    lookup: guardedLookup(options),
    ...(options.caPem === undefined ? {} : { ca: options.caPem }),
  });
  const chooseProxy = compileProxyChoice(options.proxy);

  return (target, answer) => {
    const callback: buildConnector.Callback = (...[error, socket]) => {
      if (error === null) answer(null, ignoreInterim(socket));
      else answer(error, null);
    };
    const port = Number(target.port) || (target.protocol === 'https:' ? 443 : 80);
    const refusal = hostRefusal(target.hostname, options.allowLoopback);
    if (refusal !== null) {
      callback(new BlockedDestinationError(`blocked destination: ${refusal}`), null);
      return;
    }
    const proxy = chooseProxy(target.protocol, target.hostname, port);
    if (proxy === null) {
      connect(target, callback);
      return;
    }
    if (options.proxy?.onlyHttps === true && target.protocol !== 'https:') {
      callback(
        new BlockedDestinationError(
          `blocked destination: http://${target.hostname} through a proxy that resolves its name; use https://, or list the host in NO_PROXY`,
        ),
        null,
      );
      return;
    }
    tunnel(proxy, target.hostname, port, options).then(
      (socket) => {
        if (target.protocol === 'https:') connect({ ...target, httpSocket: socket }, callback);
        else callback(null, socket);
      },
      (error: unknown) => callback(error as Error, null),
    );
  };
}

/** A tunnel to the first address of the destination that the proxy reaches. */
async function tunnel(
  proxy: URL,
  hostname: string,
  port: number,
  options: ConnectorOptions,
): Promise<Socket> {
  const hosts =
    options.proxy?.resolve === 'proxy'
      ? [hostname]
      : (await checkedAddresses(hostname, options)).map(({ address }) => address);
  let failure = new Error(`${hostname} has no address`);
  for (const host of hosts) {
    try {
      return await openTunnel(
        proxy,
        `${isIP(host) === 6 ? `[${host}]` : host}:${port}`,
        options.connectTimeoutMs,
      );
    } catch (error) {
      failure = error as Error;
    }
  }
  throw failure;
}

/** HTTP CONNECT (RFC 9110 §9.3.6). Messages name the proxy's host only: its URL may hold a password. */
function openTunnel(proxy: URL, authority: string, timeoutMs: number): Promise<Socket> {
  const request = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
  const credentials = proxyCredentials(proxy);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const connect = request({
    method: 'CONNECT',
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
    path: authority,
    agent: false,
    headers: {
      host: authority,
      ...(credentials === ':'
        ? {}
        : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    },
  });
  const timer = setTimeout(() => connect.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  connect.once('close', () => clearTimeout(timer));
  connect.once('connect', (response, socket: Socket, head) => {
    clearTimeout(timer);
    if (response.statusCode !== 200) {
      socket.destroy();
      reject(new Error(`proxy ${proxy.host} answered ${response.statusCode} to CONNECT ${authority}`));
      return;
    }
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  connect.once('response', (response) => {
    response.destroy();
    reject(new Error(`proxy ${proxy.host} answered ${response.statusCode} to CONNECT ${authority}`));
  });
  connect.once('error', (error) => {
    reject(
      new Error(`proxy ${proxy.host} cannot be reached for CONNECT ${authority}: ${error.message}`, {
        cause: error,
      }),
    );
  });
  connect.end();
  return promise;
}
