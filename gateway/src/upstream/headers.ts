import type { IncomingHttpHeaders } from 'node:http';

/**
 * Request headers that an upstream gets to see. A list of what passes, not of what does not: what an ingress or a
 * service mesh adds on the way in (identity headers, addresses, tokens) must never leave the company.
 */
const FORWARDED = new Set([
  'accept',
  'content-type',
  'x-app',
  'x-claude-code-session-id',
  'x-claude-code-agent-id',
]);

/** The betas in `anthropic-beta` by which the API knows a request with an OAuth bearer. */
const OAUTH_BETA = 'oauth-2025-04-20';

/**
 * The client's headers for an upstream, as names and values in turn: everything of `anthropic-*` and
 * `x-stainless-*`, and a few more; never a credential, a cookie, an address or a hop-by-hop header.
 *
 * The answer is asked for uncompressed (`accept-encoding: identity`): it is relayed as bytes while the meter reads
 * its usage frames, and a model's answer is small beside the prompt.
 *
 * @param userAgent This gateway's product token; appended to the client's.
 */
export function forwardedHeaders(headers: IncomingHttpHeaders, userAgent: string): string[] {
  const result: string[] = [];
  for (const name in headers) {
    if (!FORWARDED.has(name) && !name.startsWith('anthropic-') && !name.startsWith('x-stainless-')) continue;
    const value = headers[name];
    if (typeof value === 'string') result.push(name, value);
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
    const betas = headers[i + 1] ?? '';
    if (!betas.split(',').some((beta) => beta.trim() === OAUTH_BETA))
      headers[i + 1] = `${betas},${OAUTH_BETA}`;
    return;
  }
  headers.push('anthropic-beta', OAUTH_BETA);
}

/**
 * Response headers that stop here: hop-by-hop (RFC 9110 §7.6.1), what speaks of the upstream's host and not of ours
 * (cookies, HSTS, alternative services), request ids (the client gets ours), and whatever `connection` names.
 */
const NOT_RELAYED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'set-cookie',
  'set-cookie2',
  'strict-transport-security',
  'public-key-pins',
  'alt-svc',
  'nel',
  'report-to',
  'reporting-endpoints',
  'content-security-policy',
  'content-security-policy-report-only',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'server',
  'server-timing',
  'via',
  'date',
  'cf-ray',
  'cf-cache-status',
  'request-id',
  'x-request-id',
]);

/** Whether a response header (lower case) goes on to the client. The upstream's quota is the company's, not theirs. */
export function isRelayed(name: string): boolean {
  return !NOT_RELAYED.has(name) && !name.startsWith('anthropic-ratelimit-');
}
