import { z } from 'zod';
import type { CustomResource } from './api.ts';
import { conditions, observedGeneration } from './conditions.ts';
import { gatewayRefs, groupName, mapList, setOf, text } from './fields.ts';
import { AGE, conditionColumn, type ResourceKind } from './kind.ts';
import { matching, withRules } from './rules.ts';
import { conflicts, gatewayShape, replicasUpToDate } from './policy-status.ts';

const domain = text(
  253,
  matching(
    /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/,
    'write one bare domain, such as corp.example, without @',
  ),
);

const match = z
  .strictObject({
    groups: setOf(groupName(), 256, 1).optional().describe('Members of one of these groups. Case matters.'),
    emailDomains: setOf(domain, 64, 1)
      .optional()
      .describe('People whose email is in one of these domains. Case does not matter.'),
  })
  .prefault({})
  .describe(
    'Whom this is for; both conditions must hold. Empty: everybody, as the base on which the others lie.',
  );

const document = (what: string) => z.record(z.string(), z.unknown()).optional().describe(what);

const spec = withRules(
  z.strictObject({
    gatewayRefs: gatewayRefs(),
    match,
    priority: z
      .int()
      .min(-1_000_000)
      .max(1_000_000)
      .default(0)
      .describe('Of several that match, the highest wins; at the same priority, the name that comes first.'),
    settings: document("Claude Code's managed settings, kept as written."),
    desktop: document('What Claude Desktop receives when it starts, kept as written; may be empty.'),
    serveToDesktop: z
      .boolean()
      .optional()
      .describe('Whether settings reach Claude Code inside Claude Desktop too.'),
  }),
  {
    rule: 'has(self.settings) || has(self.desktop)',
    message: 'set settings, desktop, or both; write settings: {} to give nothing but the base',
    holds: ({ settings, desktop }) => settings !== undefined || desktop !== undefined,
  },
).describe('What is wanted.');

const status = z
  .strictObject({
    observedGeneration: observedGeneration(),
    conditions: conditions(),
    checksum: z
      .string()
      .max(71)
      .optional()
      .describe('sha256: and the SHA-256 of the settings as clients get them.'),
    clients: z
      .strictObject({
        current: z.int().min(0).describe('Clients whose last settings are these.'),
        stale: z.int().min(0).describe('Clients that match, and have older ones.'),
      })
      .optional()
      .describe('Clients that these are for, as far as they have asked.'),
    gateways: mapList(
      z.strictObject({ ...gatewayShape('these'), deliveringReplicas: replicasUpToDate() }),
      ['name'],
      1000,
    )
      .optional()
      .describe('The gateways that these apply to.'),
    conflicts: conflicts(
      'ManagedSettings',
      'What both match, and which one wins.',
      'Settings that match the same people at the same priority.',
    ),
  })
  .describe('What is the case.');

export type ManagedSettingsSpec = z.output<typeof spec>;
export type ManagedSettingsSpecInput = z.input<typeof spec>;
export type ManagedSettingsStatus = z.output<typeof status>;
export type ManagedSettings = CustomResource<'ManagedSettings', ManagedSettingsSpec, ManagedSettingsStatus>;

/** `Accepted`: the documents make sense. `Delivered`: every ready pod of every gateway hands them out. */
export type ManagedSettingsCondition = 'Accepted' | 'Delivered' | 'Ready' | 'Reconciling' | 'Stalled';

export const MANAGED_SETTINGS = {
  kind: 'ManagedSettings',
  plural: 'managedsettings',
  singular: 'managedsettings',
  shortNames: ['mset'],
  description: 'Which settings of Claude Code reach whom.',
  spec,
  status,
  printerColumns: [
    { name: 'Groups', type: 'string', jsonPath: '.spec.match.groups', description: 'Groups that get them.' },
    {
      name: 'Domains',
      type: 'string',
      jsonPath: '.spec.match.emailDomains',
      description: 'Email domains that get them.',
    },
    { name: 'Priority', type: 'integer', jsonPath: '.spec.priority', description: 'The highest wins.' },
    {
      name: 'Clients',
      type: 'integer',
      jsonPath: '.status.clients.current',
      description: 'Clients that run them.',
    },
    {
      name: 'Stale',
      type: 'integer',
      jsonPath: '.status.clients.stale',
      description: 'Clients that run older ones.',
    },
    conditionColumn('Delivered', 'Whether every pod hands them out.'),
    conditionColumn('Accepted', 'Whether the documents make sense.', 1),
    AGE,
  ],
} as const satisfies ResourceKind;
