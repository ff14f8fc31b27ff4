import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Addresses of cloud metadata and host-agent services that lie outside the link-local ranges: Alibaba Cloud; Azure's
 * WireServer; Oracle Cloud (classic); Amazon EC2 and EKS over IPv6; Google Cloud over IPv6.
 */
const METADATA_ADDRESSES = new Set([
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
]);

const METADATA_NAMES = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.azure.internal',
  'metadata.tencentyun.com',
]);

/**
 * Why an address may not be connected to, or null when it may. Private ranges (RFC 1918, RFC 4193) are fine: identity
 * providers and collectors commonly live there. IPv6 forms that carry an IPv4 address are judged by that address too.
 */
export function addressRefusal(address: string, allowLoopback: boolean): string | null {
  const bare = address.replace(/^\[|\]$/g, '');
  if (!ipaddr.isValid(bare)) return `${address} is not an IP address`;
  const refusal = parsedRefusal(ipaddr.parse(bare), allowLoopback);
  return refusal === null ? null : `${address} is ${refusal}`;
}

function parsedRefusal(address: ipaddr.IPv4 | ipaddr.IPv6, allowLoopback: boolean): string | null {
  if (METADATA_ADDRESSES.has(withoutZone(address))) return 'a cloud metadata address';
  const range: string = address.range();
  switch (range) {
    case 'linkLocal':
      return 'a link-local address, where cloud metadata services live';
    case 'unspecified':
      return 'an unspecified address';
    case 'multicast':
      return 'a multicast address';
    case 'broadcast':
      return 'the broadcast address';
    case 'loopback':
      return allowLoopback ? null : LOOPBACK;
    default:
  }
  if (address.kind() === 'ipv4') return null;
  for (const embedded of embeddedIPv4(address as ipaddr.IPv6)) {
    const refusal = parsedRefusal(embedded, allowLoopback);
    if (refusal !== null) return `${embedded.toString()} in an IPv6 form, ${refusal}`;
  }
  return null;
}

const LOOPBACK = 'a loopback address (CLAUDE_GATEWAY_ALLOW_LOOPBACK=1 allows it, for development)';

function withoutZone(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address.toString().replace(/%.*$/, '');
}

/** The IPv4 addresses that a translator, relay or tunnel would take out of this IPv6 address. */
function embeddedIPv4(address: ipaddr.IPv6): ipaddr.IPv4[] {
  const bytes = address.toByteArray();
  const at = (offset: number, mask = 0): ipaddr.IPv4 =>
    new ipaddr.IPv4(bytes.slice(offset, offset + 4).map((byte) => byte ^ mask));
  const last = at(12);
  const range: string = address.range();
  switch (range) {
    case 'ipv4Mapped':
    case 'rfc6145':
    case 'rfc6052':
      return [last];
    case '6to4':
      return [at(2)];
    case 'teredo':
      return [at(4), at(12, 0xff)];
    default:
  }
  const { parts } = address;
  const isCompatible = parts.slice(0, 6).every((part) => part === 0);
  const isIsatap = (parts[4]! & 0xfdff) === 0 && parts[5] === 0x5efe;
  return isCompatible || isIsatap ? [last] : [];
}

/** Why a host name may not even be looked up, or null. Addresses are judged by {@link addressRefusal}. */
export function hostRefusal(hostname: string, allowLoopback: boolean): string | null {
  const host = hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
  if (isIP(host) !== 0) return addressRefusal(host, allowLoopback);
  if (METADATA_NAMES.has(host)) return `${host} is the name of a cloud metadata service`;
  if (!allowLoopback && isLoopbackName(host)) return `${host} is ${LOOPBACK}`;
  return null;
}

/** `localhost` and everything below it (RFC 6761 §6.3). */
export function isLoopbackName(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost');
}
