import { z } from 'zod';
import { nonEmpty, secureUrl } from './fields.ts';

const ATTRIBUTE_NAME = /^[A-Za-z0-9._-]{1,255}$/;
/** Printable ASCII without what delimits OTEL_RESOURCE_ATTRIBUTES or escapes in it: the octets of W3C Baggage but for %. */
const ATTRIBUTE_VALUE = /^[\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c\x3e-\x5b\x5d-\x7e]+$/;
/** Of a value as it travels: percent-encoded. */
const ATTRIBUTE_VALUE_MAX = 255;
const RESERVED_ATTRIBUTES = new Set([
  'service.name',
  'service.version',
  'os.type',
  'os.version',
  'host.arch',
  'wsl.version',
]);
const RESERVED_ATTRIBUTE_PREFIXES: readonly string[] = ['user.', 'enduser.', 'identity.'];

function attributeProblem(name: string, value: string): string | undefined {
  const lower = name.toLowerCase();
  if (!ATTRIBUTE_NAME.test(name))
    return 'must be named with 1 to 255 letters, digits, dots, hyphens and underscores';
  if (
    RESERVED_ATTRIBUTES.has(lower) ||
    RESERVED_ATTRIBUTE_PREFIXES.some((prefix) => lower.startsWith(prefix))
  ) {
    return 'is set by the gateway or by Claude Code; choose another name';
  }
  if (!ATTRIBUTE_VALUE.test(value)) {
    return 'must be printable ASCII, not empty, without spaces and , ; = " \\ %';
  }
  return encodeURIComponent(value).length > ATTRIBUTE_VALUE_MAX
    ? `must have at most ${ATTRIBUTE_VALUE_MAX} characters once percent-encoded`
    : undefined;
}

const resourceAttributes = z
  .record(z.string(), z.string())
  .superRefine((attributes, ctx) => {
    for (const [name, value] of Object.entries(attributes)) {
      const message = attributeProblem(name, value);
      if (message !== undefined) ctx.addIssue({ code: 'custom', path: [name], message });
    }
  })
  .describe('OpenTelemetry resource attributes that clients add to every export.');

const AUTHORIZATION = 'authorization';

interface Destination {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly auth?: unknown;
}

/** A Google access token goes to Google alone, encrypted, and nothing else claims its header. */
function checkGoogleAuth({ url, headers, auth }: Destination, ctx: z.RefinementCtx): void {
  if (auth === undefined || !URL.canParse(url)) return;
  const issue = (message: string) => ctx.addIssue({ code: 'custom', path: ['auth', 'google'], message });
  const { protocol, hostname } = new URL(url);
  if (protocol !== 'https:') issue('needs an https:// URL: it sends an access token');
  if (hostname !== 'googleapis.com' && !hostname.endsWith('.googleapis.com')) {
    issue('sends a Google access token, so the URL must be of googleapis.com');
  }
  if (Object.keys(headers).some((name) => name.toLowerCase() === AUTHORIZATION)) {
    issue('sets the Authorization header; remove that from headers');
  }
}

const destination = z
  .strictObject({
    url: secureUrl().describe('Base URL of an OTLP/HTTP receiver.'),
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
  })
  .superRefine(checkGoogleAuth);

export const telemetrySchema = z
  .strictObject({
    forward_to: z.array(destination).default([]).describe('Where the OTLP exports of clients go.'),
    resource_attributes: resourceAttributes.optional(),
  })
  .prefault({})
  .describe('Forwarding of the telemetry of Claude Code.');

export type TelemetryConfig = z.output<typeof telemetrySchema>;
export type TelemetryDestinationConfig = TelemetryConfig['forward_to'][number];
