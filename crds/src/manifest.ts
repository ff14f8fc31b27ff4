import { z } from 'zod';
import { API_VERSION } from './api.ts';
import { CLAUDE_GATEWAY, type ClaudeGateway } from './claude-gateway.ts';
import { MANAGED_SETTINGS, type ManagedSettings } from './managed-settings.ts';
import { SPEND_POLICY, type SpendPolicy } from './spend-policy.ts';

export type Resource = ClaudeGateway | SpendPolicy | ManagedSettings;

export interface ManifestProblem {
  /** As the API server writes it, such as `spec.limits[0].usd`. */
  readonly path: string;
  readonly message: string;
}

/** A manifest that the API server would refuse. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
  readonly problems: readonly ManifestProblem[];

  constructor(title: string, problems: readonly ManifestProblem[]) {
    super([`${title}:`, ...problems.map(({ path, message }) => `  ${path}: ${message}`)].join('\n'));
    this.problems = problems;
  }
}

const metadata = z.looseObject({
  name: z
    .string()
    .max(253)
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'must be a lower-case RFC 1123 subdomain'),
  namespace: z.string().optional(),
});

const GATEWAY_NAME = /^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$/;
const [gatewayNameRule] = CLAUDE_GATEWAY.rules;

const schemas = {
  ClaudeGateway: z.object({
    metadata: metadata.refine(({ name }) => GATEWAY_NAME.test(name), {
      path: ['name'],
      error: gatewayNameRule.message,
    }),
    spec: CLAUDE_GATEWAY.spec,
  }),
  SpendPolicy: z.object({ metadata, spec: SPEND_POLICY.spec }),
  ManagedSettings: z.object({ metadata, spec: MANAGED_SETTINGS.spec }),
} as const;

const isOurs = (kind: unknown): kind is keyof typeof schemas =>
  typeof kind === 'string' && Object.hasOwn(schemas, kind);

/**
 * Reads a manifest as the API server would: the same rules, the same defaults. For programs that run without a cluster;
 * what comes from an API server has been through this already.
 *
 * @returns undefined for objects of other API groups.
 * @throws ManifestError naming every problem.
 */
export function parseManifest(document: unknown): Resource | undefined {
  if (typeof document !== 'object' || document === null) return undefined;
  const { apiVersion, kind } = document as { apiVersion?: unknown; kind?: unknown };
  if (apiVersion !== API_VERSION) return undefined;
  if (!isOurs(kind)) {
    throw new ManifestError(API_VERSION, [
      { path: 'kind', message: `must be one of ${Object.keys(schemas).join(', ')}` },
    ]);
  }
  const parsed = schemas[kind].safeParse(document);
  if (!parsed.success) throw new ManifestError(titleOf(kind, document), parsed.error.issues.map(problemOf));
  const { spec, metadata: meta } = parsed.data;
  return { apiVersion: API_VERSION, kind, metadata: meta, spec } as Resource;
}

function titleOf(kind: string, document: object): string {
  const name = (document as { metadata?: { name?: unknown } }).metadata?.name;
  return typeof name === 'string' ? `${kind} ${name}` : kind;
}

function problemOf({ path, message }: z.core.$ZodIssue): ManifestProblem {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('');
  return { path: text.replace(/^\./, ''), message };
}
