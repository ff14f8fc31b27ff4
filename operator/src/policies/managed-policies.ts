import {
  gatewayConfigSchema,
  validateDesktopDocument,
  validateSettingsDocument,
  type DocumentRemark,
  type DocumentVerdict,
  lowerAscii,
} from '@claude-gateway/contract';
import { MANAGED_SETTINGS, type ManagedSettings } from '@claude-gateway/crds';
import type { ManagedPolicyContent } from '@claude-gateway/prisma';
import { fieldOf, judge, unstorable, type PolicyProblem } from './problems.ts';

export interface ManagedPolicies {
  /** In the order of their email domains. */
  readonly policies: readonly ManagedPolicyContent[];
  /** Sentences about what the documents say that has no effect, or not the one that was meant. */
  readonly warnings: readonly string[];
}

/** An email domain of the spec, and where it stands there. */
interface Domain {
  /** In lower case, as the gateway compares. */
  readonly name: string;
  readonly index: number;
}

/**
 * The entries of `managed.policies` that a resource comes to: one, or one for each email domain, since an entry has one at
 * most. What the gateway would not serve is a problem here.
 */
export function managedPoliciesOf({
  metadata,
  spec,
}: Pick<ManagedSettings, 'metadata' | 'spec'>):
  ManagedPolicies | { readonly problems: readonly PolicyProblem[] } {
  const judged = judge(MANAGED_SETTINGS.spec, spec);
  if ('problems' in judged) return judged;
  const { match, priority } = judged.spec;
  // The documents stay as they were written.
  const { settings, desktop, serveToDesktop } = spec;
  const { domains, repeated } = distinct(match.emailDomains ?? []);
  const forEach: readonly (Domain | undefined)[] = domains.length === 0 ? [undefined] : domains;
  const policies = forEach.map((domain, position) => ({
    name: domain === undefined ? metadata.name : `${metadata.name}/${domain.name}`,
    priority,
    position,
    document: {
      match: {
        ...(match.groups !== undefined && { groups: match.groups }),
        ...(domain !== undefined && { email_domain: domain.name }),
      },
      ...(settings !== undefined && { cli: settings }),
      ...(desktop !== undefined && { desktop }),
      ...(serveToDesktop !== undefined && { serve_to_desktop: serveToDesktop }),
    },
  }));
  const reviews = [
    ...(settings === undefined ? [] : [review('settings', validateSettingsDocument(settings))]),
    ...(desktop === undefined ? [] : [review('desktop', validateDesktopDocument(desktop))]),
  ];
  const problems = [
    ...(match.groups ?? []).flatMap((group, index) =>
      unstorable(fieldOf(['spec', 'match', 'groups', index]), group),
    ),
    ...reviews.flatMap((one) => one.problems),
  ];
  if (problems.length === 0) {
    const documents = policies.map(({ document }) => document);
    problems.push(...refusals(documents, domains));
  }
  if (problems.length > 0) return { problems };
  return {
    policies,
    warnings: [...judged.warnings, ...repeated, ...reviews.flatMap(({ warnings }) => warnings)],
  };
}

function distinct(written: readonly string[]): { domains: readonly Domain[]; repeated: readonly string[] } {
  const first = new Map<string, Domain>();
  const repeated: string[] = [];
  for (const [index, domain] of written.entries()) {
    const name = lowerAscii(domain);
    const known = first.get(name);
    if (known === undefined) first.set(name, { name, index });
    else repeated.push(`${domainField(index)} is emailDomains[${known.index}] again: case does not matter`);
  }
  return { domains: [...first.values()], repeated };
}

const domainField = (index: number): string => fieldOf(['spec', 'match', 'emailDomains', index]);

function review(
  block: 'settings' | 'desktop',
  { problems, warnings }: DocumentVerdict,
): { readonly problems: readonly PolicyProblem[]; readonly warnings: readonly string[] } {
  const placed = (remark: DocumentRemark): PolicyProblem => ({
    field: `spec.${block}${remark.path === '' || remark.path.startsWith('[') ? '' : '.'}${remark.path}`,
    message: remark.message,
  });
  return {
    problems: problems.map(placed),
    warnings: warnings.map(placed).map(({ field, message }) => `${field} ${message}`),
  };
}

/** Where the parts of an entry come from. */
const PARTS: Readonly<Record<string, string>> = {
  match: 'match',
  cli: 'settings',
  desktop: 'desktop',
  serve_to_desktop: 'serveToDesktop',
};

/** What the gateway's own schema says of the entries, in the words of the resource, each thing once. */
function refusals(documents: readonly unknown[], domains: readonly Domain[]): PolicyProblem[] {
  const { error } = gatewayConfigSchema.shape.managed.safeParse({ policies: documents });
  const found = new Map<string, PolicyProblem>();
  for (const { path, message } of error?.issues ?? []) {
    // Paths begin with `policies`, and the position in it.
    const [, position, part = '', ...rest] = path;
    const domain = part === 'match' && rest[0] === 'email_domain' ? domains[Number(position)] : undefined;
    const field =
      domain === undefined
        ? fieldOf(['spec', PARTS[String(part)] ?? part, ...rest])
        : domainField(domain.index);
    found.set(`${field} ${message}`, { field, message });
  }
  return [...found.values()];
}
