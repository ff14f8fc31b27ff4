import { z } from 'zod';
import { isFetchableUrl, isSecureUrl } from './addresses.ts';
import { nonEmpty } from './fields.ts';

const destination = z.strictObject({
  url: z
    .string()
    .refine(isSecureUrl, {
      error: 'must be an https:// URL; http:// for loopback addresses only',
      abort: true,
    })
    .refine(isFetchableUrl, { error: 'must not be of a cloud metadata service' })
    .describe('Base URL of an OTLP/HTTP receiver.'),
  headers: z
    .record(z.string(), z.string())
    .default({})
    .describe('Headers of every export, such as a credential.'),
  auth: z
    .strictObject({
      google: z
        .strictObject({
          service_account_json: nonEmpty().optional().describe('Path of a service account key.'),
        })
        .describe('A Google access token; Application Default Credentials without a key.'),
    })
    .optional()
    .describe('Credential that the gateway obtains itself.'),
  metrics: z.boolean().default(true).describe('Forward metrics: counters without content.'),
  logs: z
    .boolean()
    .default(false)
    .describe('Forward logs. They may hold commands, tool input and file paths.'),
  traces: z
    .boolean()
    .default(false)
    .describe('Forward traces. They may hold commands, tool input and file paths.'),
});

export const telemetrySchema = z
  .strictObject({
    forward_to: z.array(destination).default([]).describe('Where the OTLP exports of clients go.'),
    resource_attributes: z
      .record(z.string(), z.string())
      .optional()
      .describe('OpenTelemetry resource attributes that clients add to every export.'),
  })
  .prefault({})
  .describe('Forwarding of the telemetry of Claude Code.');

export type TelemetryConfig = z.output<typeof telemetrySchema>;
export type TelemetryDestinationConfig = TelemetryConfig['forward_to'][number];
