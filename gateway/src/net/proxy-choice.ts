import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { AddressSet } from '../http/client-address.ts';
import { isLoopbackName } from '@claude-gateway/contract';

/** The forward proxy, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY describe it. */
export interface ProxyOptions {
  /** For `http://` destinations, and for `https://` ones when `httpsProxy` is absent. */
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  /** Comma- or space-separated: names (and everything below them), addresses, CIDR ranges, `host:port`, or `*`. */
  readonly noProxy?: string;
  /**
   * Who resolves the names of destinations. `gateway` (default): the name is resolved and checked here, and the proxy
   * is asked for the checked address. `proxy`: for networks without public DNS; the proxy gets the name and must do
   * the guarding itself.
   */
  readonly resolve?: 'gateway' | 'proxy';
  /** The same for identity providers that are asked through the proxy, and of those for https:// alone. */
  readonly resolveIdentityProviders?: 'proxy';
  /** Whether `http://` destinations are refused: whoever resolves their names decides who answers. */
  readonly onlyHttps?: boolean;
}

/** Picks the proxy for a destination; null means a direct connection. Loopback is never proxied. */
export type ProxyChoice = (protocol: string, hostname: string, port: number) => URL | null;

/**
 * Compiles proxy settings.
 *
 * @throws Error naming the variable when a proxy is not an `http://` or `https://` URL of host and port, or its user name
 *   and password cannot be decoded.
 */
export function compileProxyChoice(options: ProxyOptions | undefined): ProxyChoice {
  const http = parseProxy(options?.httpProxy, 'HTTP_PROXY');
  const https = parseProxy(options?.httpsProxy, 'HTTPS_PROXY') ?? http;
  if (http === null && https === null) return () => null;
  const exempt = compileNoProxy(options?.noProxy ?? '');
  return (protocol, hostname, port) => {
    const proxy = protocol === 'https:' ? https : http;
    return proxy === null || isLoopback(hostname) || exempt(hostname, port) ? null : proxy;
  };
}

function parseProxy(value: string | undefined, variable: string): URL | null {
  if (value === undefined || value.trim() === '') return null;
  const text = value.trim();
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Error(`${variable}: not a proxy URL; write http://host:port. ${ESCAPES}`);
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new Error(`${variable}: there is more behind host and port; write http://host:port. ${ESCAPES}`);
  }
  try {
    proxyCredentials(url);
  } catch {
    throw new Error(`${variable}: its user name or password holds a % that begins no escape. ${ESCAPES}`);
  }
  return url;
}

const ESCAPES =
  'In a user name or password, write % as %25, @ as %40, / as %2F, ? as %3F, # as %23 and : as %3A.';

/**
 * `user:password` of a proxy; a colon alone where there is neither.
 *
 * @throws URIError when they are not percent-encoded.
 */
export function proxyCredentials(proxy: URL): string {
  return `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
}

function isLoopback(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/\.+$/, '');
  return isLoopbackName(host) || (isIP(host) !== 0 && ipaddr.process(host).range() === 'loopback');
}

function compileNoProxy(list: string): (hostname: string, port: number) => boolean {
  const rules = list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .map((entry) => compileRule(entry.toLowerCase()));
  return (hostname, port) => {
    const host = hostname.toLowerCase().replace(/\.+$/, '');
    return rules.some((rule) => rule(host, port));
  };
}

type Rule = (host: string, port: number) => boolean;

function compileRule(entry: string): Rule {
  if (entry === '*') return () => true;
  if (ipaddr.isValidCIDR(entry)) {
    const network = new AddressSet([entry]);
    return (host) => isIP(host) !== 0 && network.has(host);
  }
  const { name, port: onlyPort } = splitPort(entry);
  const bare = name.replace(/^\*?\./, '');
  return (host, port) =>
    (onlyPort === null || onlyPort === port) &&
    (host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`)));
}

function splitPort(entry: string): { name: string; port: number | null } {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]+))(?::(?<port>\d+))?$/.exec(entry);
  if (match?.groups === undefined) return { name: entry, port: null };
  const { v6, host, port } = match.groups;
  return { name: v6 ?? host ?? entry, port: port === undefined ? null : Number(port) };
}
