import { hostRefusal, isLoopbackName } from '../destinations.ts';

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

/** `https://user:password@host`: URLs are logged and shown, and most of what is given one does not use these. */
export function hasUserInfo(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && (url.username !== '' || url.password !== '');
}

export function isHttpUrl(text: string): boolean {
  return parseHttpUrl(text) !== undefined;
}

/**
 * An http(s) URL whose host is not, literally, one that nothing connects to: of a cloud's metadata service, link-local,
 * multicast, unspecified, in whatever form. Loopback has a rule of its own, and names are judged when they are looked up.
 */
export function isFetchableUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && hostRefusal(url.hostname, true) === null;
}

/** A host that only this machine can reach (RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopbackHost(host: string): boolean {
  const bare = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
  return isLoopbackName(bare) || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}

const UNSPECIFIED = new Set(['0.0.0.0', '[::]']);

/** A URL of this machine. Connecting to the unspecified address leads here too. */
export function isLoopbackUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && (isLoopbackHost(url.hostname) || UNSPECIFIED.has(url.hostname));
}

/** `https://` to anywhere, `http://` to this machine only. */
export function isSecureUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && (url.protocol === 'https:' || isLoopbackHost(url.hostname));
}

/** `http://` to anywhere but this machine: whoever is on the way reads along. */
export function isExposedUrl(text: string): boolean {
  return isHttpUrl(text) && !isSecureUrl(text);
}

/**
 * Why no database may be looked for where a connection URL says, or null: its host, in the parameter `host` too. Anything but
 * what nothing connects to is fine, this machine included; a URL that cannot be read is for the store to refuse.
 */
export function databaseRefusal(text: string): string | null {
  const url = URL.parse(text);
  if (url === null) return null;
  for (const host of [url.hostname, ...url.searchParams.getAll('host')]) {
    const refusal = host === '' || host.startsWith('/') ? null : hostRefusal(decoded(host), true);
    if (refusal !== null) return refusal;
  }
  return null;
}

function decoded(host: string): string {
  try {
    return decodeURIComponent(host);
  } catch {
    return host;
  }
}
