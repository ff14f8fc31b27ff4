import type { IncomingHttpHeaders } from 'node:http';

/**
 * Request headers that an upstream gets to see. A list of what passes, not of what does not: what an ingress or a
 * service mesh adds on the way in (identity headers, addresses, tokens) must never leave the company, and nobody may
 * choose a workspace, an organization or a profile by a header: those belong to the gateway's credential.
 */
const FORWARDED = new Set([
  'accept',
  'anthropic-version',
  'anthropic-beta',
  'anthropic-client-platform',
  'anthropic-client-version',
  'x-app',
  'x-claude-code-session-id',
  'x-claude-code-agent-id',
  'x-claude-code-parent-agent-id',
]);

/** What the SDK says of itself: its language, its version, how often it has tried. */
const SDK_HEADER = /^x-stainless-[a-z-]{1,40}$/;

/** The betas in `anthropic-beta` by which the API knows a request with an OAuth bearer. */
const OAUTH_BETA = 'oauth-2025-04-20';

/**
 * The client's headers for an upstream, as names and values in turn: what the API documents and Claude Code says of
 * itself; never a credential, a cookie, an address or a hop-by-hop header. The body is JSON, whatever the client calls
 * it.
 *
 * The answer is asked for uncompressed (`accept-encoding: identity`): it is relayed as bytes while the meter reads
 * its usage frames, and a model's answer is small beside the prompt.
 *
 * @param userAgent This gateway's product token; appended to the client's.
 */
export function forwardedHeaders(headers: IncomingHttpHeaders, userAgent: string): string[] {
  const result: string[] = ['content-type', 'application/json'];
  for (const name in headers) {
    if (!FORWARDED.has(name) && !SDK_HEADER.test(name)) continue;
    const value = headers[name];
    if (typeof value === 'string' && value !== '') result.push(name, value);
  }
  const client = headers['user-agent'];
  result.push('user-agent', client === undefined ? userAgent : `${client} ${userAgent}`);
  result.push('accept-encoding', 'identity');
  return result;
}

/** Adds the beta that goes with an OAuth bearer to a list of {@link forwardedHeaders}, in place. */
export function addOauthBeta(headers: string[]): void {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'anthropic-beta') continue;
    const betas = (headers[i + 1] ?? '').split(',').map((beta) => beta.trim());
    if (!betas.includes(OAUTH_BETA))
      headers[i + 1] = [...betas.filter((beta) => beta !== ''), OAUTH_BETA].join(',');
    return;
  }
  headers.push('anthropic-beta', OAUTH_BETA);
}

/**
 * Response headers that go on to the client: what tells it how to read the body and when to come back. Everything else
 * speaks of the upstream's host, of the company's account and its quota, or of one hop.
 */
const RELAYED = new Set([
  'content-type',
  'content-length',
  'content-encoding',
  'cache-control',
  'retry-after',
  'x-should-retry',
  'anthropic-version',
]);

/** Whether a response header (lower case) goes on to the client. */
export function isRelayed(name: string): boolean {
  return RELAYED.has(name);
}
