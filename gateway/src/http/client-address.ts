import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = [Address, number];

/** A set of addresses, from CIDR ranges and single addresses of either family. */
export class AddressSet {
  readonly #v4: Range[] = [];
  readonly #v6: Range[] = [];

  /** @throws Error naming the entry that is neither an address nor a CIDR range. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const range = parseRange(entry);
      (range[0].kind() === 'ipv4' ? this.#v4 : this.#v6).push(range);
    }
  }

  get empty(): boolean {
    return this.#v4.length === 0 && this.#v6.length === 0;
  }

  has(address: string): boolean {
    const parsed = parseAddress(address);
    if (parsed === undefined) return false;
    const ranges = parsed.kind() === 'ipv4' ? this.#v4 : this.#v6;
    return ranges.some(([base, bits]) => parsed.match(base, bits));
  }
}

function parseRange(entry: string): Range {
  try {
    if (entry.includes('/')) return withoutMapping(ipaddr.parseCIDR(entry));
    const single = ipaddr.process(entry);
    return [single, single.kind() === 'ipv4' ? 32 : 128];
  } catch {
    throw new Error(`"${entry}" is neither an IP address nor a CIDR range`);
  }
}

/** Clients with an IPv4 address are known by that: so is a network of mapped ones (`::ffff:10.0.0.0/104`). */
function withoutMapping([base, bits]: Range): Range {
  if (base.kind() === 'ipv4' || !(base as ipaddr.IPv6).isIPv4MappedAddress()) return [base, bits];
  if (bits < MAPPED_BITS) throw new Error('is more than all of IPv4');
  return [(base as ipaddr.IPv6).toIPv4Address(), bits - MAPPED_BITS];
}

/** The prefix of IPv4-mapped addresses, `::ffff:0:0/96`. */
const MAPPED_BITS = 96;

function parseAddress(address: string): Address | undefined {
  try {
    return ipaddr.process(address);
  } catch {
    return undefined;
  }
}

/** One spelling per address: IPv4-mapped IPv6 becomes IPv4, a zone id is dropped. */
export function normaliseAddress(address: string): string {
  if (isIP(address) === 4) return address;
  return parseAddress(address.split('%', 1)[0] ?? '')?.toString() ?? address;
}

const NO_PROXIES = new AddressSet([]);

/** Headers that only proxies add. */
const PROXY_HEADERS = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via'] as const;

/**
 * Whether {@link resolveClientAddress} is known to have found the address of the client itself. A peer that is no trusted
 * proxy may be one all the same: when it sends a proxy's headers, or, where no proxies are configured, when its address
 * is a private one, as those of nodes and pods that pass connections on are.
 */
export function isClientAddressKnown(request: IncomingMessage, trusted: AddressSet = NO_PROXIES): boolean {
  const peer = normaliseAddress(request.socket.remoteAddress ?? '');
  if (trusted.has(peer)) {
    const client = resolveClientAddress(peer, request.headers['x-forwarded-for'], trusted);
    return !trusted.has(client);
  }
  if (PROXY_HEADERS.some((name) => request.headers[name] !== undefined)) return false;
  return !trusted.empty || parseAddress(peer)?.range() === 'unicast';
}

/**
 * What counts as one client: an IPv4 address, or the /64 of an IPv6 one, of which a single subscriber has 2^64.
 *
 * @param address As {@link resolveClientAddress} has it.
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address;
  const parsed = parseAddress(address);
  return parsed?.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).parts.slice(0, 4).join(':') : address;
}

/**
 * The client's address: the TCP peer, or, when the peer is a trusted proxy, the right-most entry of
 * X-Forwarded-For that is not a trusted proxy itself (what nginx calls `real_ip_recursive`). Entries further left
 * are claims of the client and are never believed.
 */
export function resolveClientAddress(
  peer: string,
  forwardedFor: string | string[] | undefined,
  trusted: AddressSet,
): string {
  const address = normaliseAddress(peer);
  if (forwardedFor === undefined || trusted.empty || !trusted.has(address)) return address;
  const hops = (Array.isArray(forwardedFor) ? forwardedFor.join(',') : forwardedFor).split(',');
  let client = address;
  for (let i = hops.length - 1; i >= 0; i--) {
    const hop = stripPort((hops[i] ?? '').trim());
    if (isIP(hop.split('%', 1)[0] ?? '') === 0) return client;
    client = normaliseAddress(hop);
    if (!trusted.has(client)) return client;
  }
  return client;
}

/** Some proxies append the port: `203.0.113.7:4711`, `[2001:db8::1]:4711`. */
function stripPort(hop: string): string {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(hop);
  if (bracketed?.[1] !== undefined) return bracketed[1];
  const v4 = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop);
  return v4?.[1] ?? hop;
}
