import { z } from 'zod';
import {
  atomicList, decimal, duration, groupName, httpUrl, mapList, secretKeyRef, setOf, text, warnAtPercent,
} from '../fields.ts'; // prettier-ignore
import { exactlyOneOf, matching, withRules } from '../rules.ts';

const price = (what: string) => decimal(0, 10_000).describe(`${what}, in USD per million tokens.`);

export const pricing = z
  .strictObject({
    multiplier: decimal(0, 10).default('1').describe('Factor on every list price.'),
    overrides: mapList(
      z.strictObject({
        upstream: text(128).describe('Name of the upstream.'),
        model: text(256).describe('Model id.'),
        input: price('Input'),
        output: price('Output'),
        cacheRead: price('Cache reads'),
        cacheWrite: price('Cache writes'),
      }),
      ['upstream', 'model'],
      256,
    )
      .optional()
      .describe('Prices of single models on single upstreams.'),
  })
  .optional()
  .describe('Prices other than the list.');

export const admin = z
  .strictObject({
    groups: setOf(groupName(), 64)
      .optional()
      .describe('Groups whose members administer with their own sign-in.'),
    keys: mapList(
      z.strictObject({
        name: text(128).describe('Name of the key in the audit log.'),
        access: z.enum(['Read', 'Write']).default('Read').describe('What it may do.'),
        secretRef: secretKeyRef().describe('The key itself, at least 32 characters.'),
      }),
      ['name'],
      64,
    )
      .optional()
      .describe('Keys of the admin API.'),
  })
  .prefault({})
  .describe('Who may use the admin API.');

const webhook = withRules(
  z.strictObject({
    name: text(
      63,
      matching(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'use letters, digits, dots, hyphens and underscores'),
    ).describe('What logs call it; who has taken which alert is remembered under it.'),
    url: httpUrl().optional().describe('Where events are posted.'),
    urlSecretRef: secretKeyRef().optional().describe('The URL, when it is a credential itself.'),
    signingSecretRefs: atomicList(secretKeyRef(), 8, 1).describe(
      'Secrets that sign events (Standard Webhooks): whsec_ and 24 to 64 bytes in base64. All of them sign.',
    ),
  }),
  exactlyOneOf(['url', 'urlSecretRef'], 'set url or urlSecretRef, and not both'),
);

const pools = z.strictObject({
  priorityOrder: withRules(atomicList(groupName(), 50, 1), {
    rule: 'self.all(group, self.exists_one(other, other == group))',
    message: 'name each group once',
    holds: (list) => new Set(list).size === list.length,
  })
    .optional()
    .describe(
      'Groups in the order in which their pools pay for a member of several. The default order when left out.',
    ),
  billingGroupTag: text(
    64,
    matching(/^[A-Za-z0-9_.:\/=+@-]+$/, 'use letters, digits or characters of _.:/=+-@'),
    {
      rule: "!self.lowerAscii().startsWith('anthropic')",
      message: 'choose a tag that does not begin with anthropic',
      holds: (tag) => !tag.toLowerCase().startsWith('anthropic'),
    },
  )
    .optional()
    .describe('Name of the request tag that carries the group that pays.'),
});

export const spend = z
  .strictObject({
    failurePolicy: z
      .enum(['Open', 'Closed'])
      .default('Open')
      .describe(
        'While the database is away: serve (Open) or refuse (Closed). A SpendPolicy may say otherwise.',
      ),
    minOutputTokens: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(1024)
      .describe('Least max_tokens of a request whose output is shortened to what is left of a limit.'),
    maxWait: duration('0s', '1m')
      .default('20s')
      .describe(
        'How long a request waits for what other requests in flight hold of a limit; after that it is answered a 429 that clients repeat within seconds.',
      ),
    abandonedRead: duration('0s', '10m')
      .default('1m')
      .describe(
        "How long an answer is read on after its client has gone, so that the upstream's own count is charged. 0s gives it up at once.",
      ),
    warnAtPercent: warnAtPercent()
      .default([75, 95])
      .describe('Percentages of a limit at which developers are warned, for policies that set none.'),
    blockedMessage: text(1024)
      .optional()
      .describe('What a blocked developer should do; ends the error they see.'),
    groupLimitMode: z
      .enum(['Tightest', 'Widest'])
      .default('Tightest')
      .describe('Which counts of the limits of several groups of one person.'),
    pools: pools.optional().describe('Who pays when several pools could.'),
    webhooks: mapList(webhook, ['name'], 16)
      .optional()
      .describe('Who is told when a budget passes a threshold or is used up.'),
  })
  .prefault({})
  .describe('How limits are enforced; the limits themselves are SpendPolicy resources.');

export const retention = z
  .strictObject({
    auditDays: z.int().min(1).max(36_500).default(365).describe('How long the audit log is kept, in days.'),
    spendMonths: z
      .int()
      .min(1)
      .max(1200)
      .default(13)
      .describe('How long spend counters are kept, in months.'),
    identityDays: z
      .int()
      .min(1)
      .max(36_500)
      .default(90)
      .describe('How long names, emails and groups of people last seen then are kept, in days.'),
  })
  .prefault({})
  .describe('How long things are kept.');
