import { z } from 'zod';
import { nonEmpty, numeric, positiveInt } from './fields.ts';

const adminKey = z.strictObject({
  id: z.string().describe('Name of the key in the audit log, unique among all keys.'),
  key: z
    .string()
    .min(32, 'must have at least 32 characters')
    .describe('The key itself, at least 32 characters.'),
});

const MAX_PRIORITY_GROUPS = 50;
const TAG = /^(?!anthropic)[A-Za-z0-9_.:/=+@-]{1,64}$/i;

const adminShape = z.strictObject({
  read_keys: z.array(adminKey).default([]).describe('Keys that may read.'),
  write_keys: z.array(adminKey).default([]).describe('Keys that may read, set and delete.'),
  admin_groups: z
    .array(nonEmpty())
    .default([])
    .describe('Groups whose members administer with their own sign-in.'),
  blocked_message: z
    .string()
    .optional()
    .describe('What a blocked developer should do; ends the error they see.'),
  audit_retention_days: positiveInt().prefault(365).describe('How long the audit log is kept, in days.'),
  spend_retention_months: positiveInt().prefault(13).describe('How long spend counters are kept, in months.'),
  identity_retention_days: positiveInt()
    .prefault(90)
    .describe('How long names, emails and groups of people last seen then are kept, in days.'),
  group_limit_mode: z
    .enum(['min', 'max'])
    .default('min')
    .describe('With caps of several groups: the tightest (min) or the widest (max) counts.'),
  pooled_conflict_rule: z
    .enum(['default_order', 'priority_list'])
    .optional()
    .describe('Which pool pays for a member of several.'),
  pooled_priority_order: z
    .array(nonEmpty())
    .max(MAX_PRIORITY_GROUPS, `must have at most ${MAX_PRIORITY_GROUPS} groups`)
    .refine((groups) => new Set(groups).size === groups.length, { error: 'lists a group more than once' })
    .optional()
    .describe('Groups in the order in which their pools pay, for priority_list.'),
  billing_group_tag: z
    .string()
    .regex(TAG, "must be 1 to 64 letters, digits or characters of _.:/=+-@, and not begin with 'anthropic'")
    .optional()
    .describe('Name of the request tag that carries the group that pays.'),
});

export const adminSchema = adminShape
  .superRefine((admin, ctx) => {
    const ids = new Set<string>();
    for (const list of ['read_keys', 'write_keys'] as const) {
      for (const [index, { id }] of admin[list].entries()) {
        if (ids.has(id)) {
          ctx.addIssue({
            code: 'custom',
            path: [list, index, 'id'],
            message: 'must be unique among read_keys and write_keys',
          });
        }
        ids.add(id);
      }
    }
    if (admin.pooled_conflict_rule === 'priority_list' && (admin.pooled_priority_order ?? []).length === 0) {
      ctx.addIssue({
        code: 'custom',
        path: ['pooled_priority_order'],
        message: 'needs at least one group with pooled_conflict_rule: priority_list',
      });
    }
  })
  .describe('The admin API and spend limits; without this section there are none.');

export const enforcementSchema = z
  .strictObject({
    fail_closed_on_error: z
      .boolean()
      .default(false)
      .describe('Refuse inference when limits cannot be read, instead of serving it.'),
    min_output_tokens: positiveInt()
      .prefault(1024)
      .describe(
        'Least max_tokens of a request whose output is shortened to what is left of a limit; below it the request is refused.',
      ),
    abandoned_read_ms: numeric(z.int().min(0).max(600_000))
      .prefault(60_000)
      .describe(
        "How long an answer is read on after its client has gone, in milliseconds (0 to 600000), so that the upstream's own count is charged. 0 gives it up at once; without a count a strict limit is charged the most that it can have been.",
      ),
    max_wait_ms: numeric(z.int().min(0).max(60_000))
      .prefault(20_000)
      .describe(
        'How long a request waits for what other requests in flight hold of a limit (0 to 60000); after that it is answered a 429 that clients repeat within seconds.',
      ),
    warn_at_percent: z
      .array(numeric(z.int().min(1).max(99)))
      .max(10)
      .refine((percents) => percents.every((percent, i) => i === 0 || percent > (percents[i - 1] ?? 0)), {
        error: 'must be ascending, each percentage once',
      })
      .prefault([75, 95])
      .describe('Percentages of a limit at which developers are warned, for limits that set none.'),
  })
  .prefault({})
  .describe('How limits are enforced.');

const MAX_PRICE = 10_000;
const price = (what: string) =>
  numeric(z.number().positive().max(MAX_PRICE)).describe(`${what}, in USD per million tokens.`);

export const pricingSchema = z
  .strictObject({
    multiplier: numeric(z.number().gt(0).lte(10))
      .prefault(1)
      .describe('Factor on every list price (above 0, at most 10).'),
    overrides: z
      .array(
        z.strictObject({
          upstream: nonEmpty().describe('Name of the upstream.'),
          model: nonEmpty().describe('Model id.'),
          input: price('Input'),
          output: price('Output'),
          cache_read: price('Cache reads'),
          cache_write: price('Cache writes'),
        }),
      )
      .prefault([])
      .describe('Prices of single models on single upstreams.'),
  })
  .describe('Prices other than the list.');

export type AdminConfig = z.output<typeof adminSchema>;
export type EnforcementConfig = z.output<typeof enforcementSchema>;
export type PricingConfig = z.output<typeof pricingSchema>;
