import { z } from 'zod';
import { isLoopbackUrl } from './addresses.ts';
import { numeric, secureUrl, urlText } from './fields.ts';

const trimmed = z.string().trim().min(1, 'must not be empty');

/** Answers of the gateway itself, for load tests. */
export const loadTestModeSchema = z
  .strictObject({
    enabled: z.boolean().describe('Answer from the gateway, without an upstream.'),
    reply_tokens: z.int().min(1).max(100_000).default(750).describe('Length of an answer, in tokens.'),
    reply_seconds: z.number().min(0).max(600).default(9.5).describe('Duration of an answer, in seconds.'),
  })
  .describe('Synthetic answers for load tests.');

function isCanonicalIssuer(text: string): boolean {
  return URL.canParse(text) && new URL(text).href === text && !/[?#]/.test(text) && !text.endsWith('/');
}

/** Customer-routed inference: requests that carry a token of Anthropic's instead of the gateway's. */
export const criSchema = z
  .strictObject({
    enabled: z.boolean().default(false).describe('Admit such requests.'),
    audience: z.array(trimmed).default([]).describe('Audiences that the tokens may have.'),
    jwks_url: urlText()
      .refine(isLoopbackUrl, { error: 'must be a loopback URL: it is for tests' })
      .optional()
      .describe('Keys of a local stand-in, for tests.'),
    issuer: secureUrl()
      .refine(isCanonicalIssuer, {
        error: 'must be a canonical URL without query, fragment or slash at its end',
      })
      .optional()
      .describe('Issuer of the tokens, exactly as in their iss claim.'),
    org_allowlist: z
      .array(trimmed.transform((id) => id.toLowerCase()))
      .prefault([])
      .describe('Organizations whose tokens are admitted.'),
    policy: z
      .strictObject({
        webhook: z
          .strictObject({
            url: secureUrl().describe('Webhook to ask.'),
            timeout_ms: numeric(z.int().positive().max(30_000))
              .prefault(2000)
              .describe('Longest wait for it, in milliseconds (at most 30000).'),
            fail_closed: z.boolean().default(true).describe('Refuse when it does not answer.'),
          })
          .describe('A webhook that decides.'),
      })
      .optional()
      .describe('Decision of each request.'),
  })
  .describe('Customer-routed inference.');

export type LoadTestModeConfig = z.output<typeof loadTestModeSchema>;
export type CriConfig = z.output<typeof criSchema>;
