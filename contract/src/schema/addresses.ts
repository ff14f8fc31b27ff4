/** Hosts that clouds answer credentials on. The connector guards again, after name resolution. */
const METADATA_HOSTS = new Set([
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  '[fd00:ec2::254]',
  '[fd00:ec2::23]',
  '[fd20:ce::254]',
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

const bareHost = (url: URL): string => url.hostname.toLowerCase().replace(/\.$/, '');

export function isHttpUrl(text: string): boolean {
  return parseHttpUrl(text) !== undefined;
}

/** An http(s) URL whose host is not, literally, a cloud metadata endpoint. */
export function isFetchableUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  if (url === undefined) return false;
  const host = bareHost(url);
  return !METADATA_HOSTS.has(host) && !host.startsWith('169.254.') && !host.startsWith('[fe80:');
}

/** A host that only this machine can reach (RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopbackHost(host: string): boolean {
  const bare = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  return (
    bare === 'localhost' || bare.endsWith('.localhost') || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare)
  );
}

export function isLoopbackUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && isLoopbackHost(url.hostname);
}

/** `https://` to anywhere, `http://` to this machine only. */
export function isSecureUrl(text: string): boolean {
  const url = parseHttpUrl(text);
  return url !== undefined && (url.protocol === 'https:' || isLoopbackHost(url.hostname));
}
