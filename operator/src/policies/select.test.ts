import { describe, expect, it } from '@jest/globals';
import type { SpendPolicySpecInput } from '@claude-gateway/crds';
import { select } from './select.ts';
import { gateway, spendPolicy } from './testing/policies.ts';

const limited: SpendPolicySpecInput = {
  subject: { kind: 'Organization' },
  limits: [{ period: 'Daily', usd: '1' }],
};
const names = (gateways: readonly { readonly metadata: { readonly name: string } }[]): string[] =>
  gateways.map(({ metadata }) => metadata.name);

describe('select', () => {
  const gateways = [gateway('b'), gateway('a'), gateway('elsewhere', { namespace: 'other' })];

  it('takes every gateway of the namespace when a policy names none', () => {
    const { selected, missing } = select(spendPolicy('p', limited), gateways);
    expect(names(selected)).toEqual(['a', 'b']);
    expect(missing).toEqual([]);
  });

  it('takes those that are named, and says which of them do not exist here', () => {
    const refs = [{ name: 'elsewhere' }, { name: 'b' }, { name: 'c' }];
    const { selected, missing } = select(spendPolicy('p', { ...limited, gatewayRefs: refs }), gateways);
    expect(names(selected)).toEqual(['b']);
    expect(missing).toEqual(['c', 'elsewhere']);
  });
});
