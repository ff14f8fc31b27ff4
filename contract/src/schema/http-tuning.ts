import { z } from 'zod';
import { network, positiveInt } from './fields.ts';

export const accessControlSchema = z
  .strictObject({
    allow_cidrs: z
      .array(network())
      .default([])
      .describe('When not empty, only these addresses and networks are served. Probes are exempt.'),
    deny_cidrs: z
      .array(network())
      .default([])
      .describe('Addresses and networks to refuse; wins over allow_cidrs.'),
  })
  .prefault({})
  .describe('Which client addresses are served, after trusted_proxies.');

export const limitsSchema = z
  .strictObject({
    max_request_bytes: positiveInt()
      .prefault(33_554_432)
      .describe('Largest request body, in bytes; a larger one gets 413.'),
    max_request_header_bytes: positiveInt()
      .optional()
      .describe(
        'Largest request header, in bytes; a larger one gets 431. No limit of our own when left out.',
      ),
    max_url_length: positiveInt()
      .optional()
      .describe(
        'Longest request target, in characters; a longer one gets 414. No limit of our own when left out.',
      ),
  })
  .prefault({})
  .describe('How large a request may be.');

export const timeoutsSchema = z
  .strictObject({
    upstream_ttfb_ms: positiveInt()
      .prefault(120_000)
      .describe(
        "Longest wait for an upstream's response headers, in milliseconds. Streams have no limit after that.",
      ),
  })
  .prefault({})
  .describe('How long to wait.');

const rateLimit = (max: number, windowSeconds: number, what: string) =>
  z
    .strictObject({
      max: positiveInt().prefault(max).describe('Requests admitted in a window.'),
      window_seconds: positiveInt().prefault(windowSeconds).describe('Length of a window, in seconds.'),
    })
    .prefault({})
    .describe(what);

export const rateLimitsSchema = z
  .strictObject({
    device_authorization: rateLimit(30, 600, 'New sign-ins, for each client address.'),
    device_verify: rateLimit(10, 600, 'User codes entered on the sign-in page, for each client address.'),
  })
  .prefault({})
  .describe('Limits of the sign-in endpoints, by client address.');

export type AccessControlConfig = z.output<typeof accessControlSchema>;
export type LimitsConfig = z.output<typeof limitsSchema>;
export type TimeoutsConfig = z.output<typeof timeoutsSchema>;
export type RateLimitConfig = z.output<typeof rateLimitsSchema>['device_verify'];
export type RateLimitsConfig = z.output<typeof rateLimitsSchema>;
