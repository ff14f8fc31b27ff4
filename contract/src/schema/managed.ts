import { z } from 'zod';
import { nonEmpty, normalizeDomain } from './fields.ts';
import { isJson, type JsonObject } from './json.ts';

const emailDomain = z
  .string()
  .transform(normalizeDomain)
  .refine((domain) => domain !== '', { error: 'must not be blank' })
  .refine((domain) => !/[@\s,]/.test(domain), { error: 'must be one bare domain, such as corp.example' })
  .describe('Domain of the email, the part after the last @. Case does not matter.');

const matchSchema = z
  .strictObject({
    groups: z
      .array(nonEmpty())
      .min(1, 'needs at least one group; leave the key out to match everybody')
      .optional()
      .describe('Matches members of one of these groups. Case matters.'),
    email_domain: emailDomain.optional(),
  })
  .prefault({})
  .describe(
    'Whom the policy is for; both conditions must hold. Empty: everybody, as the base of all other policies.',
  );

const settingsDocument = (what: string) =>
  z
    .record(z.string(), z.unknown())
    .refine(isJson, { error: 'must hold JSON values only: no .nan or .inf' })
    .transform((document) => document as JsonObject)
    .optional()
    .describe(what);

const policySchema = z.strictObject({
  match: matchSchema,
  cli: settingsDocument('Managed settings of Claude Code in the terminal.'),
  code: settingsDocument("Managed settings of Claude Code in the terminal and in Claude Desktop's Code tab."),
  settings: settingsDocument('Older name of cli.'),
  desktop: settingsDocument('What Claude Desktop receives when it starts.'),
  serve_to_desktop: z
    .boolean()
    .optional()
    .describe('Whether the settings of this policy reach Claude Desktop.'),
});

type RawPolicy = z.output<typeof policySchema>;

/** A file writes all its blocks under `code`, or none. */
function checkBlocks(policies: readonly RawPolicy[], ctx: z.RefinementCtx): void {
  if (!policies.some((policy) => policy.code !== undefined)) return;
  for (const [index, policy] of policies.entries()) {
    for (const key of ['cli', 'settings'] as const) {
      if (policy[key] === undefined) continue;
      const message =
        policy.code === undefined
          ? 'another policy uses code: write the settings of every policy under code, or of every policy under cli'
          : 'this policy has a code block already: put all its settings there';
      ctx.addIssue({ code: 'custom', path: [index, key], message });
    }
  }
}

export const managedSchema = z
  .strictObject({
    settings: z.string().optional().describe('Reserved; policies hold the settings.'),
    policy_mode: z
      .enum(['first_match', 'layered'])
      .optional()
      .describe(
        'first_match: the first policy that matches, on the base. layered: every policy that matches. first_match when left out.',
      ),
    policies: z
      .array(policySchema)
      .superRefine(checkBlocks)
      .prefault([])
      .describe('Policies, in order. One without conditions is the base of all others.'),
  })
  .prefault({})
  .describe('Managed settings by group or email domain.');

export type ManagedConfig = z.output<typeof managedSchema>;
export type PolicyConfig = ManagedConfig['policies'][number];
export type PolicyMatch = PolicyConfig['match'];
