import { z } from 'zod';
import { network, numeric, positiveInt } from './fields.ts';

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

/** A bound, or 0 for none. */
const bound = () => numeric(z.int().nonnegative());

const MIN_CONNECTIONS = 16;

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
    max_buffered_request_bytes: positiveInt()
      .optional()
      .describe(
        'Bytes of request bodies that one replica keeps at a time, of all requests together; at least max_request_bytes counts. What does not fit gets 503 before it is read, and one person may take half. When left out: a quarter of the memory that the container may use, from 64 MiB to 1 GiB.',
      ),
    max_connections: numeric(z.int().min(MIN_CONNECTIONS))
      .optional()
      .describe(
        'Connections that one replica takes at a time. When left out: one for each 256 KiB of memory, from 1000 to 20000.',
      ),
    max_connections_per_address: bound()
      .optional()
      .describe(
        'Connections of one client address (of IPv6 its /64) at a time; 0 for no limit. Those of listen.trusted_proxies are not counted. When left out: half of max_connections.',
      ),
    max_requests_in_flight_per_person: bound()
      .prefault(512)
      .describe(
        'Requests of one person or workload at a time, on one replica; further ones get 429 and are retried. 0 for no limit.',
      ),
    max_requests_in_flight_per_address: bound()
      .prefault(256)
      .describe(
        'Requests of one client address (of IPv6 its /64) at a time, behind listen.trusted_proxies, that have not said yet whose they are; further ones get 429. 0 for no limit.',
      ),
    min_request_bytes_per_second: bound()
      .prefault(8192)
      .describe(
        'Slowest transfer of a request body, on average after its first ten seconds; a slower one gets 408. 0 for no limit.',
      ),
  })
  .prefault({})
  .describe('How large requests may be, and how much clients may make one replica hold.');

export const timeoutsSchema = z
  .strictObject({
    upstream_ttfb_ms: positiveInt()
      .prefault(120_000)
      .describe(
        "Longest wait for an upstream's response headers, in milliseconds. An answer that has begun may take any time.",
      ),
    upstream_idle_ms: bound()
      .prefault(300_000)
      .describe(
        'How long an upstream that has begun to answer may send nothing, in milliseconds; after it the answer ends with an error. 0 for no limit.',
      ),
    upstream_pings_only_ms: bound()
      .prefault(600_000)
      .describe(
        'How long it may send nothing but pings, in milliseconds: it does while a model thinks and does not show it. 0 for no limit.',
      ),
    request_headers_ms: positiveInt()
      .prefault(20_000)
      .describe('Longest wait for the headers of a request, in milliseconds; after it there is 408.'),
    request_body_ms: positiveInt()
      .prefault(300_000)
      .describe('Longest wait for the body of a request, in milliseconds; after it there is 408.'),
    client_stall_ms: positiveInt()
      .prefault(120_000)
      .describe(
        'How long a client may take nothing of an answer that waits for it, in milliseconds; after it the connection is closed.',
      ),
    keep_alive_ms: positiveInt()
      .prefault(620_000)
      .describe(
        'How long a connection may be idle between two requests, in milliseconds: longer than the load balancer in front keeps it.',
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
    device_authorization: rateLimit(600, 600, 'New sign-ins, for each client address.'),
    device_verify: rateLimit(
      30,
      600,
      'Wrong user codes entered on the sign-in page, for each client address.',
    ),
    device_confirm: rateLimit(1000, 600, 'Right user codes entered there, for each client address.'),
    token: rateLimit(
      1200,
      10,
      'Requests to /oauth/token and /oauth/revoke, for each client address, on each replica.',
    ),
    sign_in_pages: rateLimit(
      600,
      10,
      'Requests to /device and /oauth/callback, for each client address, on each replica.',
    ),
  })
  .prefault({})
  .describe(
    'Limits of the endpoints that need no sign-in, by client address (IPv6: by /64). Many people may share one.',
  );

export type AccessControlConfig = z.output<typeof accessControlSchema>;
export type LimitsConfig = z.output<typeof limitsSchema>;
export type TimeoutsConfig = z.output<typeof timeoutsSchema>;
export type RateLimitConfig = z.output<typeof rateLimitsSchema>['device_verify'];
export type RateLimitsConfig = z.output<typeof rateLimitsSchema>;
