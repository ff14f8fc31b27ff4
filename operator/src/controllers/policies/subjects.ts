import { compilePolicy, type PolicyResource } from './compiled.ts';

/** Whom policies are for, to find out who of them has been seen. */
export function subjectsOf(policies: readonly PolicyResource[]): { groups: string[]; users: string[] } {
  const groups = new Set<string>();
  const users = new Set<string>();
  for (const policy of policies) {
    for (const { scope } of compilePolicy(policy).rows?.limits ?? []) {
      if (scope.type === 'rbac_group') groups.add(scope.group);
      if (scope.type === 'user') users.add(scope.user);
    }
    if (policy.kind === 'ManagedSettings')
      for (const group of policy.spec.match.groups ?? []) groups.add(group);
  }
  return { groups: [...groups], users: [...users] };
}
