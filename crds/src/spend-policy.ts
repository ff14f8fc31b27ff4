import { z } from 'zod';
import type { CustomResource } from './api.ts';
import { conditions, observedGeneration } from './conditions.ts';
import { atomicList, gatewayRefs, mapList, text, timeZone, warnAtPercent } from './fields.ts';
import { AGE, conditionColumn, type ResourceKind } from './kind.ts';
import { exactlyOneOf, withRules } from './rules.ts';
import { conflicts, gatewayShape, replicasUpToDate } from './policy-status.ts';

const subject = withRules(
  z.strictObject({
    kind: z
      .enum(['Organization', 'Group', 'User'])
      .describe('Everybody, a group, or one person or workload.'),
    name: text(512)
      .optional()
      .describe(
        'The group, spelt as the identity provider spells it; or the email address or subject of the user, such as workload:github:ci.',
      ),
  }),
  {
    rule: "(self.kind == 'Organization') != has(self.name)",
    message: 'name the Group or User; an Organization has no name: leave it out',
    holds: ({ kind, name }) => (kind === 'Organization') !== (name !== undefined),
  },
);

const PERIODS = ['Daily', 'Weekly', 'Monthly'] as const;
const MAX_TOKENS = 1_000_000_000_000_000;
const USD = /^[0-9]{1,9}([.][0-9]{1,9})?$/;

const limitShape = z.strictObject({
  period: z.enum(PERIODS).describe('How often it begins anew. Weeks begin on Monday.'),
  // No defaults inside: this list is atomic, and what was applied would then differ from what is kept.
  sharing: z
    .enum(['PerMember', 'Pooled'])
    .optional()
    .describe('Each member has this much, or all together. PerMember when left out.'),
  usd: text(19, {
    rule: `self.matches(r'${USD.source}')`,
    message: 'write dollars as a decimal in quotes, such as "100.00"; "0" blocks everything',
    holds: (value) => USD.test(value),
  })
    .optional()
    .describe('Dollars, as a decimal. "0" blocks everything.'),
  tokens: z.int().min(0).max(MAX_TOKENS).optional().describe('Tokens, in and out. 0 blocks everything.'),
  unlimited: z
    .enum(['USD', 'Tokens'])
    .optional()
    .describe('No limit in this unit, where a wider limit would apply otherwise.'),
  countCacheReads: z
    .boolean()
    .optional()
    .describe(
      'Whether tokens read from a cache count. They cost a tenth, and are most of a long conversation. Not when left out.',
    ),
});

type LimitShape = z.output<typeof limitShape>;

const isPooled = ({ sharing }: LimitShape): boolean => sharing === 'Pooled';
const countsCache = ({ countCacheReads }: LimitShape): boolean => countCacheReads === true;
const isUsd = ({ usd, unlimited }: LimitShape): boolean => usd !== undefined || unlimited === 'USD';
const celIsPooled = (limit: string) => `(has(${limit}.sharing) && ${limit}.sharing == 'Pooled')`;
const celCountsCache = (limit: string) => `(has(${limit}.countCacheReads) && ${limit}.countCacheReads)`;
const celIsUsd = (limit: string) =>
  `(has(${limit}.usd) || has(${limit}.unlimited) && ${limit}.unlimited == 'USD')`;

const limit = withRules(
  limitShape,
  exactlyOneOf(['usd', 'tokens', 'unlimited'], 'set exactly one of usd, tokens and unlimited'),
  {
    rule: `!${celCountsCache('self')} || !${celIsUsd('self')}`,
    message: 'remove countCacheReads: it is for tokens, and dollars count everything',
    field: 'countCacheReads',
    holds: (value) => !countsCache(value) || !isUsd(value),
  },
);

const sameLimit = (a: LimitShape, b: LimitShape): boolean =>
  a.period === b.period &&
  isPooled(a) === isPooled(b) &&
  isUsd(a) === isUsd(b) &&
  countsCache(a) === countsCache(b);

const limits = withRules(atomicList(limit, 18, 1), {
  rule: `self.all(a, self.exists_one(b, a.period == b.period && ${celIsPooled('a')} == ${celIsPooled('b')} && ${celIsUsd('a')} == ${celIsUsd('b')} && ${celCountsCache('a')} == ${celCountsCache('b')}))`,
  message: 'have one limit for each period, sharing and unit: remove the ones that repeat',
  holds: (list) => list.every((a) => list.filter((b) => sameLimit(a, b)).length === 1),
}).describe('How much. All of them hold.');

const enforcement = z
  .strictObject({
    mode: z
      .enum(['Strict', 'Bounded', 'Postpaid'])
      .default('Strict')
      .describe(
        'Strict: the worst case of a request is held beforehand, and the limit is never exceeded. Bounded: output is held at what is usual. Postpaid: requests stop once the limit is reached.',
      ),
    whenShort: z
      .enum(['ShrinkOutput', 'Refuse'])
      .default('ShrinkOutput')
      .describe('When the input fits in what is left and the output does not: lower max_tokens, or refuse.'),
    failurePolicy: z
      .enum(['Open', 'Closed'])
      .optional()
      .describe(
        "While the database is away: serve, or refuse. The gateway's spend.failurePolicy when left out.",
      ),
  })
  .prefault({})
  .describe('How the limits are enforced.');

const spec = withRules(
  z.strictObject({
    gatewayRefs: gatewayRefs(),
    subject: subject.describe('Whose spending is limited.'),
    limits,
    enforcement,
    timeZone: timeZone()
      .default('UTC')
      .describe('IANA time zone whose midnights begin days, weeks and months.'),
    warnAtPercent: warnAtPercent()
      .optional()
      .describe(
        "Percentages of a limit at which developers are warned. The gateway's when left out; none when empty.",
      ),
    blockedMessage: text(1024)
      .optional()
      .describe("What a blocked developer should do; ends the error they see. The gateway's when left out."),
  }),
  {
    rule: `self.subject.kind != 'User' || !self.limits.exists(limit, ${celIsPooled('limit')})`,
    message: 'remove sharing: Pooled; the limit of a User is theirs alone',
    field: 'limits',
    holds: ({ subject: { kind }, limits: list }) => kind !== 'User' || !list.some(isPooled),
  },
).describe('What is wanted.');

const amount = (what: string) => z.string().max(32).optional().describe(what);
const dateTime = (what: string) => z.string().meta({ format: 'date-time' }).optional().describe(what);

const limitStatus = z.strictObject({
  gateway: z.string().max(253).optional().describe('The gateway that counts it.'),
  period: z.enum(PERIODS).describe('As in the spec.'),
  sharing: z.enum(['PerMember', 'Pooled']).describe('As in the spec.'),
  unit: z.enum(['USD', 'Tokens', 'TokensWithCacheReads']).describe('What is counted.'),
  limit: amount('The limit, in the unit. Absent when unlimited.'),
  spent: amount('Spent in the current period; of PerMember limits, by the member who has spent most.'),
  held: amount('Held for requests in flight.'),
  utilizationPercent: z.int().min(0).optional().describe('Spent, as a percentage of the limit.'),
  resetsAt: dateTime('When the next period begins.'),
  members: z.int().min(0).optional().describe('Of PerMember limits: people who have spent something.'),
  blockedMembers: z.int().min(0).optional().describe('Of them, those who have used up theirs.'),
});

const status = z
  .strictObject({
    observedGeneration: observedGeneration(),
    conditions: conditions(),
    limits: z
      .array(limitStatus)
      .max(1152)
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .optional()
      .describe('Each limit on each gateway.'),
    nearest: z
      .strictObject({
        limit: amount('The limit, with its unit and period.'),
        spent: amount('Spent, with its unit.'),
        utilizationPercent: z.int().min(0).optional().describe('Spent, as a percentage of the limit.'),
        resetsAt: dateTime('When the next period begins.'),
      })
      .optional()
      .describe('The limit that is nearest its end, for kubectl get.'),
    gateways: mapList(
      z.strictObject({ ...gatewayShape('this one'), enforcedReplicas: replicasUpToDate() }),
      ['name'],
      1000,
    )
      .optional()
      .describe('The gateways that this applies to.'),
    conflicts: conflicts(
      'SpendPolicy',
      'What both limit, and which one counts.',
      'Policies that limit the same.',
    ),
  })
  .describe('What is the case.');

export type SpendPolicySpec = z.output<typeof spec>;
export type SpendPolicySpecInput = z.input<typeof spec>;
export type SpendPolicyStatus = z.output<typeof status>;
export type SpendPolicyLimit = SpendPolicySpec['limits'][number];
export type SpendPolicyLimitStatus = z.output<typeof limitStatus>;
export type SpendPolicy = CustomResource<'SpendPolicy', SpendPolicySpec, SpendPolicyStatus>;

/** `Accepted`: the spec makes sense and selects something. `Enforced`: every ready pod of every gateway runs it. */
export type SpendPolicyCondition = 'Accepted' | 'Enforced' | 'Ready' | 'Reconciling' | 'Stalled';

export const SPEND_POLICY = {
  kind: 'SpendPolicy',
  plural: 'spendpolicies',
  singular: 'spendpolicy',
  shortNames: ['spol'],
  description:
    'Who may spend how much: by day, week or month, in dollars or tokens, each member or all together.',
  spec,
  status,
  printerColumns: [
    {
      name: 'Kind',
      type: 'string',
      jsonPath: '.spec.subject.kind',
      description: 'Organization, Group or User.',
    },
    { name: 'Subject', type: 'string', jsonPath: '.spec.subject.name', description: 'Which one.' },
    {
      name: 'Limit',
      type: 'string',
      jsonPath: '.status.nearest.limit',
      description: 'The limit that is nearest its end.',
    },
    { name: 'Spent', type: 'string', jsonPath: '.status.nearest.spent', description: 'Spent of it.' },
    {
      name: 'Percent',
      type: 'integer',
      jsonPath: '.status.nearest.utilizationPercent',
      description: 'The same, as a percentage.',
    },
    {
      name: 'Resets',
      type: 'string',
      jsonPath: '.status.nearest.resetsAt',
      description: 'When it begins anew.',
    },
    conditionColumn('Enforced', 'Whether every pod enforces it.'),
    conditionColumn('Accepted', 'Whether the spec makes sense.', 1),
    {
      name: 'Mode',
      type: 'string',
      jsonPath: '.spec.enforcement.mode',
      description: 'How it is enforced.',
      priority: 1,
    },
    AGE,
  ],
} as const satisfies ResourceKind;
