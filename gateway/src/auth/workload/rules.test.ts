import { describe, expect, it } from '@jest/globals';
import type { WorkloadIdentityConfig, WorkloadRule } from '@claude-gateway/contract';
import { compileRules, type CompiledRule } from './rules.ts';
import { GITHUB, GITLAB, KUBERNETES } from './testing/claims.ts';

const base: WorkloadIdentityConfig = {
  name: 'ci',
  issuer: 'https://issuer.corp.example',
  audience: ['claude-gateway'],
  token_ttl_minutes: 60,
  rules: [],
};

type Rule = Omit<WorkloadRule, 'groups'> & { groups?: string[] };

function ruleOf(rule: Rule, entry: Partial<WorkloadIdentityConfig> = {}): CompiledRule {
  const rules = [{ groups: [], ...rule }];
  const [compiled] = compileRules({ ...base, ...entry, rules }, 'workload_identity[0]');
  return compiled!;
}

describe('compileRules', () => {
  it('needs every claim to match one of its patterns', () => {
    const rule = ruleOf({
      claims: { repository: ['acme/web', 'acme/api*'], ref: 'refs/heads/*' },
      principal: 'x',
    });
    expect(rule.matches(GITHUB)).toBe(true);
    expect(rule.matches({ ...GITHUB, repository: 'acme/api-v2' })).toBe(true);
    expect(rule.matches({ ...GITHUB, repository: 'acme/other' })).toBe(false);
    expect(rule.matches({ ...GITHUB, ref: 'refs/tags/v1' })).toBe(false);
    expect(rule.matches({ repository: 'acme/web' })).toBe(false);
    expect(rule.matches({ ...GITHUB, ref: null })).toBe(false);
  });

  it('finds nested claims, any element of a list, and values that are no text', () => {
    const inNamespace = ruleOf({ claims: { '/kubernetes.io/namespace': 'build*' }, principal: 'x' });
    expect(inNamespace.matches(KUBERNETES)).toBe(true);
    expect(inNamespace.matches(GITHUB)).toBe(false);
    expect(ruleOf({ claims: { groups_direct: 'acme/platform' }, principal: 'x' }).matches(GITLAB)).toBe(true);
    expect(ruleOf({ claims: { groups_direct: 'acme' }, principal: 'x' }).matches(GITLAB)).toBe(false);
    expect(ruleOf({ claims: { runner_id: '1' }, principal: 'x' }).matches(GITLAB)).toBe(true);
    expect(ruleOf({ claims: { 'kubernetes.io': '*' }, principal: 'x' }).matches(KUBERNETES)).toBe(false);
  });

  it('puts its own prefix before whatever the token says', () => {
    const rule = ruleOf({
      claims: { sub: '*' },
      principal: '{sub}',
      groups: ['ci'],
      email: 'ci@corp.example',
    });
    for (const sub of ['alice', 'alice@corp.example', 'workload:other:x', ':', '../alice']) {
      expect(rule.workload({ sub })).toEqual({
        sub: `workload:ci:${sub}`,
        name: sub,
        groups: ['ci'],
        email: 'ci@corp.example',
      });
    }
  });

  it.each<[string, Parameters<typeof ruleOf>, string]>([
    ['a rule without claims', [{ claims: {}, principal: 'x' }], 'rules[0].claims'],
    ['an empty principal', [{ claims: { sub: 'x' }, principal: ' ' }], 'rules[0].principal'],
    ['a broken principal', [{ claims: { sub: 'x' }, principal: '{sub' }], 'rules[0].principal'],
    [
      'an email from a claim',
      [{ claims: { sub: 'x' }, principal: 'x', email: '{user_email}' }],
      'rules[0].email',
    ],
    [
      'a name with a colon',
      [{ claims: { sub: 'x' }, principal: 'x' }, { name: 'a:b' }],
      'workload_identity[0].name',
    ],
  ])('refuses %s', (_what, [rule, entry], field) => {
    expect(() => ruleOf(rule, entry)).toThrow(field);
  });

  it('insists on whose token it is where anybody can get one', () => {
    const github = { issuer: 'https://token.actions.githubusercontent.com' };
    const gitlab = { issuer: 'https://gitlab.com' };
    const compile = (claims: Record<string, string | string[]>, entry: object) => () =>
      ruleOf({ claims, principal: 'x' }, entry);
    const tooWide: Record<string, string | string[]>[] = [
      { ref: 'refs/heads/main' },
      { repository: '*' },
      { repository: '*/web' },
      { repository: ['acme/*', '*'] },
      { sub: 'repo:*' },
      { sub: '*' },
      { environment: 'prod', repository_visibility: 'private' },
    ];
    for (const claims of tooWide) {
      expect(compile(claims, github)).toThrow('repository_owner');
      expect(compile(claims, {})).not.toThrow();
    }
    const narrow: Record<string, string>[] = [
      { repository: 'acme/*' },
      { sub: 'repo:acme/*' },
      { repository_owner_id: '65', ref: '*' },
    ];
    for (const claims of narrow) {
      expect(compile(claims, github)).not.toThrow();
    }
    expect(compile({ sub: 'project_path:*' }, gitlab)).toThrow('project_path');
    expect(compile({ project_path: 'acme/*' }, gitlab)).not.toThrow();
  });
});
