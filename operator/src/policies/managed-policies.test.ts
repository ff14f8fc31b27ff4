import { describe, expect, it } from '@jest/globals';
import type { ManagedSettingsSpecInput } from '@claude-gateway/crds';
import { managedPoliciesOf } from './managed-policies.ts';
import { managedSettings } from './testing/policies.ts';

function compiled(spec: ManagedSettingsSpecInput) {
  const result = managedPoliciesOf(managedSettings('m', spec));
  if ('problems' in result) throw new Error(JSON.stringify(result.problems));
  return result;
}

/** A spec that may be one which the API server does not let through today. */
function problemsOf(spec: object): unknown {
  const settings = { metadata: { name: 'm' }, spec: { match: {}, priority: 0, ...spec } };
  const result = managedPoliciesOf(settings);
  return 'problems' in result ? result.problems : 'none';
}

describe('managedPoliciesOf', () => {
  it('makes one policy without email domains', () => {
    const { policies, warnings } = compiled({
      match: { groups: ['eng', 'ops'] },
      priority: 7,
      settings: { model: 'opus' },
      desktop: { disabledBuiltinTools: ['WebSearch'] },
      serveToDesktop: false,
    });
    expect(warnings).toEqual([]);
    expect(policies).toEqual([
      {
        name: 'm',
        priority: 7,
        position: 0,
        document: {
          match: { groups: ['eng', 'ops'] },
          cli: { model: 'opus' },
          desktop: { disabledBuiltinTools: ['WebSearch'] },
          serve_to_desktop: false,
        },
      },
    ]);
  });

  it('makes the base of settings that match everybody', () => {
    expect(compiled({ settings: {} }).policies).toEqual([
      { name: 'm', priority: 0, position: 0, document: { match: {}, cli: {} } },
    ]);
  });

  it('leaves out what is not there', () => {
    expect(compiled({ desktop: {} }).policies).toEqual([
      { name: 'm', priority: 0, position: 0, document: { match: {}, desktop: {} } },
    ]);
  });

  it('makes one policy for each email domain', () => {
    const { policies } = compiled({
      match: { groups: ['eng'], emailDomains: ['Corp.Example', 'partner.example'] },
      settings: {},
    });
    expect(policies).toEqual([
      {
        name: 'm/corp.example',
        priority: 0,
        position: 0,
        document: { match: { groups: ['eng'], email_domain: 'corp.example' }, cli: {} },
      },
      {
        name: 'm/partner.example',
        priority: 0,
        position: 1,
        document: { match: { groups: ['eng'], email_domain: 'partner.example' }, cli: {} },
      },
    ]);
  });

  it('takes a domain that is written twice once, and says so', () => {
    const { policies, warnings } = compiled({
      match: { emailDomains: ['corp.example', 'a.example', 'Corp.example'] },
      settings: {},
    });
    expect(policies.map(({ name, position }) => [name, position])).toEqual([
      ['m/corp.example', 0],
      ['m/a.example', 1],
    ]);
    expect(warnings).toEqual(['spec.match.emailDomains[2] is emailDomains[0] again: case does not matter']);
  });

  it('keeps the documents as they were written', () => {
    const settings = JSON.parse('{"z": 1, "a": {"__proto__": {"b": 2}}, "env": {}}') as Record<
      string,
      unknown
    >;
    const [policy] = compiled({ settings }).policies;
    expect(JSON.stringify((policy?.document as { cli: unknown }).cli)).toBe(JSON.stringify(settings));
  });

  it('passes on what the documents say without effect', () => {
    const { warnings } = compiled({
      match: { groups: ['eng'] },
      settings: { availableModels: [], permisions: {} },
      desktop: {},
    });
    expect(warnings).toEqual([
      expect.stringMatching(/^spec\.settings\.permisions is not .* did you mean permissions\?$/),
      expect.stringMatching(/^spec\.settings\.availableModels is empty/),
    ]);
  });

  it('refuses documents that the gateway would not serve, in the words of the resource', () => {
    expect(
      problemsOf({
        settings: { mcpServers: {}, permissions: { deny: ['Read(', 3] } },
        desktop: { disabledBuiltinTools: 'WebSearch' },
      }),
    ).toEqual([
      { field: 'spec.settings.mcpServers', message: expect.stringContaining('managedMcpServers') as unknown },
      expect.objectContaining({ field: 'spec.settings.permissions.deny[0]' }),
      expect.objectContaining({ field: 'spec.settings.permissions.deny[1]' }),
      expect.objectContaining({ field: 'spec.desktop.disabledBuiltinTools' }),
    ]);
  });

  it('says once what every entry for a domain would say', () => {
    expect(
      problemsOf({ match: { emailDomains: ['a.example', 'b.example'] }, settings: { cleanupPeriod: NaN } }),
    ).toEqual([{ field: 'spec.settings', message: expect.stringContaining('JSON values only') as unknown }]);
  });

  it.each([
    ['a group that no identity provider sends', { match: { groups: ['a', 'b\0'] } }, 'spec.match.groups[1]'],
    ['an empty group', { match: { groups: [''] } }, 'spec.match.groups[0]'],
    ['no domain', { match: { emailDomains: ['a.example', 'x@b.example'] } }, 'spec.match.emailDomains[1]'],
    ['a priority that no row holds', { priority: 3e9 }, 'spec.priority'],
    ['neither document', { settings: undefined }, 'spec'],
  ])('refuses what an older schema may have let through: %s', (_, changes, field) => {
    expect(problemsOf({ settings: {}, ...changes })).toEqual([expect.objectContaining({ field })]);
  });
});
