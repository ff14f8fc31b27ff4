import { BlockList, isIP } from 'node:net';

/** Names under which clouds answer credentials. The connector guards again, after name resolution. */
const METADATA_NAMES = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'metadata.azure.internal',
  'metadata.tencentyun.com',
  'instance-data',
  'instance-data.ec2.internal',
]);

/** Link-local addresses, and those of Alibaba Cloud, Azure, Oracle Cloud, EC2, EKS and Google Cloud outside them. */
const METADATA_ADDRESSES = new BlockList();
METADATA_ADDRESSES.addSubnet('169.254.0.0', 16, 'ipv4');
METADATA_ADDRESSES.addSubnet('fe80::', 10, 'ipv6');
for (const address of ['100.100.100.200', '168.63.129.16', '192.0.0.192']) {
  METADATA_ADDRESSES.addAddress(address, 'ipv4');
}
for (const address of ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254']) {
  METADATA_ADDRESSES.addAddress(address, 'ipv6');
}

function isMetadataHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  const family = isIP(bare);
  if (family === 0) return METADATA_NAMES.has(bare);
  return METADATA_ADDRESSES.check(bare, family === 4 ? 'ipv4' : 'ipv6');
}

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

const bareHost = (url: URL): string => url.hostname.toLowerCase().replace(/\.+$/, '');

/** `https://user:password@host`: URLs are logged and shown, and most of what is given one does not use these. */
export function hasUserInfo(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && (url.username !== '' || url.password !== '');
}

export function isHttpUrl(text: string): boolean {
  return parseHttpUrl(text) !== undefined;
}

/** An http(s) URL whose host is not, literally, a cloud metadata endpoint. */
export function isFetchableUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && !isMetadataHost(bareHost(url));
}

/** A host that only this machine can reach (RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopbackHost(host: string): boolean {
  const bare = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
  return (
    bare === 'localhost' || bare.endsWith('.localhost') || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare)
  );
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
