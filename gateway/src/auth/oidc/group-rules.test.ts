import { describe, expect, it } from '@jest/globals';
import { compileGroupRules } from './group-rules.ts';
import type { OidcSettings } from './settings.ts';

const BASE = { issuer: 'https://idp.example', client_id: 'gateway' };

function groups(
  settings: Partial<OidcSettings>,
  said: readonly string[],
  others: readonly { groups_prefix?: string }[] = [],
): readonly string[] {
  return compileGroupRules({ ...BASE, ...settings }, others)(said).known;
}

describe('groups of one provider', () => {
  it('are known as they are spelt', () => {
    expect(groups({}, ['eng', 'CN=a,OU=b'])).toEqual(['eng', 'CN=a,OU=b']);
  });

  it('have its prefix, so that no name of one provider is that of another', () => {
    expect(groups({ groups_prefix: 'partners/' }, ['platform-finops', 'partners/x'])).toEqual([
      'partners/platform-finops',
      'partners/partners/x',
    ]);
  });

  it('cannot pass for those of another provider', () => {
    const others = [{ groups_prefix: 'partners/' }, {}];
    expect(groups({}, ['eng', 'partners/platform-finops', 'partners'], others)).toEqual(['eng', 'partners']);
    expect(groups({ groups_prefix: 'staff/' }, ['partners/x'], others)).toEqual(['staff/partners/x']);
    const { dropped } = compileGroupRules(BASE, others)(['partners/platform-finops']);
    expect(dropped).toBe(1);
  });

  it('may be shared by providers of one prefix', () => {
    expect(groups({ groups_prefix: 'p/' }, ['a'], [{ groups_prefix: 'p/' }])).toEqual(['p/a']);
  });

  it('are those that the filter keeps, while allowed_groups sees all', () => {
    const rules = compileGroupRules({ ...BASE, groups_prefix: 'p/', groups_filter: ['claude-*', 'ops'] }, []);
    expect(rules(['claude-dev', 'ops', 'ops2', 'all', 'x-claude-dev'])).toEqual({
      own: ['claude-dev', 'ops', 'ops2', 'all', 'x-claude-dev'],
      known: ['p/claude-dev', 'p/ops'],
      dropped: 0,
    });
  });
});
