import { z } from 'zod';
import { fetchableUrl, nonEmpty, numeric } from './fields.ts';

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const MAX_TTL_MINUTES = 720;

/** Text with `{claim}` or `{/json/pointer}` placeholders, every brace in a pair around a name. */
const TEMPLATE = /^(?:[^{}]|\{[^{}\s]+\})+$/;

const template = z
  .string()
  .regex(TEMPLATE, 'must be text with placeholders such as {repository} or {/kubernetes.io/namespace}');

const claimPattern = nonEmpty();

const ruleSchema = z.strictObject({
  claims: z
    .record(
      nonEmpty(),
      z.union([claimPattern, z.array(claimPattern).min(1, 'needs at least one pattern')], {
        error: 'must be a pattern or a non-empty list of patterns',
      }),
    )
    .refine((claims) => Object.keys(claims).length > 0, { error: 'needs at least one claim' })
    .describe(
      'Claims (name or JSON Pointer) that the token must have, each with a pattern or a list of which one must match. * stands for any characters.',
    ),
  principal: template.describe(
    'Whom the workload acts as, such as ci:{repository}; a name in braces is replaced by that claim.',
  ),
  groups: z.array(nonEmpty()).default([]).describe('Groups of the workload, for policies and limits.'),
  email: nonEmpty()
    .regex(/^[^{}]*$/, 'must be a fixed address: a claim could make a workload look like a person')
    .optional()
    .describe('Email of the workload, a fixed text.'),
});

const workloadSchema = z.strictObject({
  name: z
    .string()
    .regex(NAME, 'must be 1 to 63 lower-case letters, digits and hyphens, without a hyphen at either end')
    .describe('Name of this source of workloads, unique; it appears in audit events.'),
  issuer: fetchableUrl().describe('Issuer of the tokens, exactly as in their iss claim.'),
  audience: z
    .union([nonEmpty(), z.array(nonEmpty()).min(1, 'needs at least one audience')], {
      error: 'must be an audience or a non-empty list of audiences',
    })
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .describe('Audience that tokens must have, or a list of which one is enough.'),
  jwks_url: fetchableUrl()
    .optional()
    .describe("Where the issuer's keys are. Found by discovery when left out."),
  ca_cert_pem: z
    .string()
    .optional()
    .describe('CA certificates, PEM, that replace the system trust store for calls to this issuer.'),
  token_ttl_minutes: numeric(z.int().positive().max(MAX_TTL_MINUTES))
    .prefault(60)
    .describe('Lifetime of the gateway token, in minutes (at most 720).'),
  rules: z
    .array(ruleSchema)
    .min(1, 'needs at least one rule')
    .describe(
      'Tried in order: the first that matches a token decides who the workload is. A token that none matches is refused.',
    ),
});

export const workloadIdentitySchema = z
  .array(workloadSchema)
  .superRefine((list, ctx) => {
    for (const [index, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) !== index) {
        ctx.addIssue({ code: 'custom', path: [index, 'name'], message: 'names must be unique' });
      }
    }
  })
  .default([])
  .describe(
    'Workloads (CI jobs, pods) that exchange their OIDC token for one of the gateway, without a browser.',
  );

export type WorkloadIdentityConfig = z.output<typeof workloadSchema>;
export type WorkloadRule = z.output<typeof ruleSchema>;
