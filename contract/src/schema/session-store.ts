import { z } from 'zod';
import { databaseRefusal } from './addresses.ts';
import { numeric, positiveInt } from './fields.ts';

const MIN_SECRET = 32;
const secret = z
  .string()
  .min(MIN_SECRET, `must have at least ${MIN_SECRET} characters (openssl rand -base64 32)`);

export const sessionSchema = z
  .strictObject({
    jwt_secret: z
      .union([secret, z.array(secret).min(1, 'needs at least one secret')], {
        error: 'must be a secret or a non-empty list of secrets',
      })
      .transform((value) => (typeof value === 'string' ? [value] : value))
      .describe(
        'Secret that signs bearer tokens (HS256), at least 32 characters. A list rotates: the first signs, all verify.',
      ),
    groups: z
      .enum(['all', 'named'])
      .default('all')
      .describe(
        'Which of their groups the token of a person or workload names. named: those alone that a policy, a limit, an upstream or admin names at that moment; a group that is named later counts from the next renewal of the token.',
      ),
    ttl_hours: numeric(z.number().positive()).prefault(1).describe('Lifetime of a bearer token, in hours.'),
  })
  .describe('The bearer tokens that the gateway issues.');

export const storeSchema = z
  .strictObject({
    postgres_url: z
      .string()
      .regex(/^postgres(ql)?:\/\//, { error: 'must begin with postgres:// or postgresql://', abort: true })
      .refine((text) => databaseRefusal(text) === null, {
        error: ({ input }) => `must name a host that may be connected to: ${databaseRefusal(String(input))}`,
      })
      .describe('Connection URL of the database.'),
    username: z
      .string()
      .optional()
      .describe(
        'Database user; wins over the one in the URL. A change is taken over by new connections, without a restart.',
      ),
    password: z
      .string()
      .optional()
      .describe(
        'Database password; wins over the one in the URL. A change, as of the file that `${file:…}` names, is taken over by new connections, without a restart.',
      ),
    max_connections: positiveInt()
      .prefault(5)
      .describe(
        'Connections of each replica, at least three: one listens, one or two are the ledger’s alone, and the rest is shared out between sign-in, APIs, reports and background work.',
      ),
    connect_timeout_seconds: numeric(z.int().min(1).max(60))
      .prefault(5)
      .describe('How long one attempt to connect may take, in seconds (1 to 60).'),
    start_timeout_seconds: numeric(z.int().min(0).max(3600))
      .prefault(60)
      .describe(
        'How long a start goes on trying while the database is away, slow, or a standby, in seconds (0 to 3600; 0 tries once).',
      ),
    readiness_grace_seconds: numeric(z.int().min(0).max(3600))
      .prefault(0)
      .describe(
        'Accepted for compatibility, in seconds (0 to 3600): readiness does not depend on the database, so nothing has to be bridged.',
      ),
  })
  .describe('The PostgreSQL database that replicas share.');

export type SessionConfig = z.output<typeof sessionSchema>;
export type StoreConfig = z.output<typeof storeSchema>;
