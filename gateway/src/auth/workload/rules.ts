import type { WorkloadIdentityConfig, WorkloadRule } from '@claude-gateway/contract';
import { compileClaim, type ClaimReader, type Claims } from '../oidc/claims.ts';
import { isUsableEmail, isUsableGroup } from '../text.ts';
import { compileTemplate } from './principal-template.ts';
import { compileWildcard, literalPrefix } from '../wildcard.ts';

/** Who a workload becomes. */
export interface Workload {
  /** `workload:<entry name>:<principal>`. */
  readonly sub: string;
  /** The principal as the template rendered it, for people to read. */
  readonly name: string;
  readonly email: string | null;
  readonly groups: readonly string[];
}

export interface CompiledRule {
  matches(claims: Claims): boolean;
  /** @throws UnusableClaim */
  workload(claims: Claims): Workload;
}

const ENTRY_NAME = /^[a-z0-9-]+$/;

/**
 * Issuers that give a token for any audience to anybody who has an account, and the claims that tell whose it is. A
 * rule that names none of these would let the whole world in.
 */
const PUBLIC_ISSUERS: Readonly<Record<string, ReadonlySet<string>>> = {
  'https://token.actions.githubusercontent.com': new Set([
    'sub',
    'repository',
    'repository_id',
    'repository_owner',
    'repository_owner_id',
    'enterprise',
    'enterprise_id',
    'job_workflow_ref',
    'workflow_ref',
  ]),
  'https://gitlab.com': new Set([
    'sub',
    'namespace_path',
    'namespace_id',
    'project_path',
    'project_id',
    'ci_config_ref_uri',
  ]),
};

/**
 * Compiles the rules of one entry.
 *
 * @param path Where the entry stands in the configuration, for messages.
 * @throws Error naming the field and the remedy.
 */
export function compileRules(config: WorkloadIdentityConfig, path: string): readonly CompiledRule[] {
  if (!ENTRY_NAME.test(config.name)) {
    throw new Error(`${path}.name: use lower-case letters, digits and dashes`);
  }
  return config.rules.map((rule, index) => compileRule(rule, config, `${path}.rules[${index}]`));
}

/**
 * The subject always begins with `workload:` and the entry's name. No claim of a token can change that, so no
 * workload can be taken for a person, nor for a workload of another issuer. Email and groups are the configuration's
 * own words for the same reason: a claim such as GitLab's `user_email` names a person.
 */
function compileRule(rule: WorkloadRule, config: WorkloadIdentityConfig, path: string): CompiledRule {
  assertNarrow(rule, config.issuer, path);
  const conditions = Object.entries(rule.claims).map(([claim, patterns]) =>
    compileCondition(compileClaim(claim), typeof patterns === 'string' ? [patterns] : patterns),
  );
  const { principal, groups, email = null } = rule;
  if (email !== null && /[{}]/.test(email)) {
    throw new Error(
      `${path}.email: must be a fixed address; a claim could make a workload look like a person`,
    );
  }
  if (!groups.every(isUsableGroup) || (email !== null && !isUsableEmail(email))) {
    throw new Error(`${path}: groups and email must be texts that can be stored, without control characters`);
  }
  if (principal.trim() === '') throw new Error(`${path}.principal: say whom these workloads act as`);
  let render: (claims: Claims) => string;
  try {
    render = compileTemplate(principal);
  } catch (error) {
    throw new Error(`${path}.principal: ${(error as Error).message}`, { cause: error });
  }

  return {
    matches: (claims) => conditions.every((holds) => holds(claims)),
    workload: (claims) => {
      const name = render(claims);
      return { sub: `workload:${config.name}:${name}`, name, email, groups };
    },
  };
}

/** A claim that is a list holds when any of its elements does. */
function compileCondition(read: ClaimReader, patterns: readonly string[]): (claims: Claims) => boolean {
  const matchers = patterns.map(compileWildcard);
  const matches = (value: unknown): boolean => {
    if (typeof value === 'number' || typeof value === 'boolean') return matches(String(value));
    return typeof value === 'string' && matchers.some((matcher) => matcher(value));
  };
  return (claims) => {
    const value = read(claims);
    return Array.isArray(value) ? value.some(matches) : matches(value);
  };
}

function assertNarrow(rule: WorkloadRule, issuer: string, path: string): void {
  const claims = Object.entries(rule.claims);
  if (claims.length === 0) throw new Error(`${path}.claims: name at least one claim that a token must have`);
  const owners = PUBLIC_ISSUERS[issuer];
  if (owners === undefined) return;
  const isNarrow = claims.some(
    ([claim, patterns]) =>
      owners.has(claim) &&
      (typeof patterns === 'string' ? [patterns] : patterns).every(
        (pattern) => literalPrefix(pattern).replace(/^(?:repo|project_path):/, '') !== '',
      ),
  );
  if (!isNarrow) {
    const names = [...owners].join(', ');
    throw new Error(`${path}.claims: anybody can get a token of ${issuer}; say whose, by one of ${names}`);
  }
}
