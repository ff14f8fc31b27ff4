import { z } from 'zod';
import { fetchableUrl, nonEmpty } from './fields.ts';

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Printable ASCII without white space at either end. */
const HEADER_VALUE = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;

/** Headers that the gateway, a provider's signature or HTTP itself owns. */
const RESERVED_HEADERS = new Set([
  'accept',
  'accept-encoding',
  'api-key',
  'authorization',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'x-api-key',
]);
const RESERVED_PREFIXES: readonly string[] = ['anthropic-', 'x-amz', 'x-goog-', 'x-stainless-'];

function headerProblem(name: string, value: string, seen: ReadonlySet<string>): string | undefined {
  const lower = name.toLowerCase();
  if (!HEADER_NAME.test(name)) return 'is not a valid header name';
  if (seen.has(lower)) return 'is listed twice; case does not distinguish header names';
  if (RESERVED_HEADERS.has(lower) || RESERVED_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
    return 'is set by the gateway or signed for the provider and cannot be configured';
  }
  return HEADER_VALUE.test(value)
    ? undefined
    : 'must be printable ASCII, not empty, without space at either end';
}

const upstreamHeaders = z
  .record(z.string(), z.string())
  .superRefine((headers, ctx) => {
    const seen = new Set<string>();
    for (const [name, value] of Object.entries(headers)) {
      const message = headerProblem(name, value, seen);
      seen.add(name.toLowerCase());
      if (message !== undefined) ctx.addIssue({ code: 'custom', path: [name], message });
    }
  })
  .describe('More headers for every request to this upstream.');

const upstreamName = nonEmpty()
  .optional()
  .describe('Name of the upstream, unique; models refer to it. The provider when left out.');

export const upstreamModels = z
  .array(nonEmpty())
  .min(1, 'needs at least one model; leave the key out to send every model')
  .describe('The only models, named as clients name them, that are sent to this upstream.');

/** Keys of every upstream. */
export const commonUpstreamShape = {
  name: upstreamName,
  headers: upstreamHeaders.optional(),
  groups: z
    .array(nonEmpty())
    .min(1, 'needs at least one group; leave the key out to serve everybody')
    .optional()
    .describe('Only members of one of these groups are sent to this upstream.'),
};

export const baseUrl = (what: string) => fetchableUrl().optional().describe(`Endpoint instead of ${what}.`);
