import { z } from 'zod';
import { fetchableUrl } from './fields.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** As Standard Webhooks has it: 24 to 64 bytes. */
const SECRET = /^whsec_[A-Za-z0-9+/]+={0,2}$/;
const MIN_BYTES = 24;
const MAX_BYTES = 64;
const HOW = 'printf \'whsec_%s\\n\' "$(openssl rand -base64 32)"';

const secret = z.string().refine(
  (text) => {
    const encoded = text.slice('whsec_'.length);
    const { length } = Buffer.from(encoded, 'base64');
    // Buffer stops at what is no base64 without a word.
    return SECRET.test(text) && encoded.length % 4 === 0 && length >= MIN_BYTES && length <= MAX_BYTES;
  },
  { error: `must be whsec_ and then 24 to 64 bytes in base64: ${HOW}` },
);

const webhook = z.strictObject({
  name: z
    .string()
    .regex(NAME, 'must be 1 to 63 letters, digits, dots, hyphens and underscores')
    .describe('What logs call it; who has taken which alert is remembered under it.'),
  url: fetchableUrl().describe('Where events are posted.'),
  secret: z
    .union([secret, z.array(secret).min(1, 'needs at least one secret')], {
      error: `must be a secret (${HOW}), or a list of secrets`,
    })
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .describe(
      'Secret that signs events (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. A list rotates: all of them sign.',
    ),
});

export const alertsSchema = z
  .strictObject({
    webhooks: z
      .array(webhook)
      .default([])
      .superRefine((webhooks, ctx) => {
        const names = new Set<string>();
        for (const [index, { name }] of webhooks.entries()) {
          if (names.has(name)) {
            ctx.addIssue({
              code: 'custom',
              path: [index, 'name'],
              message: 'is taken by an earlier webhook; give each its own',
            });
          }
          names.add(name);
        }
      })
      .describe('Who is told when a budget passes a threshold or is used up.'),
  })
  .prefault({})
  .describe('Alerts about budgets. Every one is in the audit log too.');

export type AlertsConfig = z.output<typeof alertsSchema>;
export type AlertWebhookConfig = AlertsConfig['webhooks'][number];
