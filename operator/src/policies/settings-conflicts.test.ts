import { describe, expect, it } from '@jest/globals';
import type { ManagedSettings, ManagedSettingsSpecInput } from '@claude-gateway/crds';
import type { Conflicts } from './conflict-list.ts';
import { settingsConflicts } from './settings-conflicts.ts';
import { gateway, managedSettings } from './testing/policies.ts';

type Match = NonNullable<ManagedSettingsSpecInput['match']>;

function byName(conflicts: Conflicts): Record<string, Record<string, string>> {
  return Object.fromEntries(
    [...conflicts].map(([uid, list]) => [
      uid.replace('uid-of-', ''),
      Object.fromEntries(list.map(({ name, message }) => [name, message])),
    ]),
  );
}

const found = (settings: readonly ManagedSettings[], gateways = [gateway('main')]) =>
  byName(settingsConflicts(settings, gateways));

const matching = (name: string, match: Match, priority = 0): ManagedSettings =>
  managedSettings(name, { match, priority });

describe('which of two settings for the same people wins', () => {
  it('is the first by name, of one priority', () => {
    const message =
      'both match the group eng with priority 3: a wins, its name comes first; b does not reach them';
    const a = matching('a', { groups: ['eng', 'x'] }, 3);
    const b = matching('b', { groups: ['eng', 'y'] }, 3);
    expect(found([b, a])).toEqual({ a: { b: message }, b: { a: message } });
  });

  it('is said of both where both apply', () => {
    const settings = [matching('a', { groups: ['eng'] }), matching('b', { groups: ['eng'] })];
    expect(found(settings, [gateway('main', { managedSettingsMode: 'Layered' })])['a']?.['b']).toBe(
      'both match the group eng with priority 0: both apply, and where they differ a wins, its name comes first',
    );
  });

  it('is told apart by gateway', () => {
    const settings = [matching('a', { groups: ['eng'] }), matching('b', { groups: ['eng'] })];
    const gateways = [gateway('one'), gateway('two', { managedSettingsMode: 'Layered' })];
    const message = found(settings, gateways)['a']?.['b'];
    expect(message).toContain('b does not reach them (on one)');
    expect(message).toContain('both apply, and where they differ a wins, its name comes first (on two)');
  });

  it('is no question at different priorities', () => {
    expect(found([matching('a', { groups: ['eng'] }, 1), matching('b', { groups: ['eng'] }, 2)])).toEqual({});
  });

  it('is the higher priority, of two bases', () => {
    const message =
      'both match everybody, and there is one base: b wins, its priority is higher; a has no effect';
    expect(found([matching('a', {}, 1), matching('b', {}, 2)])).toEqual({
      a: { b: message },
      b: { a: message },
    });
  });

  it('is the first by name, of two bases of one priority', () => {
    const conflicts = found([matching('a', {}), matching('b', {}), matching('c', {})]);
    expect(conflicts['b']?.['a']).toContain('a wins, its name comes first; b has no effect');
    expect(Object.keys(conflicts['a'] ?? {})).toEqual(['b', 'c']);
    expect(conflicts['c']).not.toHaveProperty('b');
  });

  it('names all that both match', () => {
    const a = matching('a', { groups: ['g1', 'g2', 'g3'] });
    const b = matching('b', { groups: ['g3', 'g1', 'g9'] });
    expect(found([a, b])['a']?.['b']).toContain('both match the groups g1 and g3 with');
    const many = { groups: Array.from({ length: 20 }, (_, i) => `g${String(i).padStart(2, '0')}`) };
    expect(found([matching('a', many), matching('b', many)])['a']?.['b']).toContain(
      'the groups g00, g01, g02, g03, g04 and 15 more with',
    );
  });

  it('leaves out settings that are not served', () => {
    const broken = managedSettings('b', { match: { groups: ['eng'] }, settings: { mcpServers: {} } });
    expect(found([matching('a', { groups: ['eng'] }), broken])).toEqual({});
  });
});

describe('whom two settings both match', () => {
  it.each<[string, Match, Match, boolean]>([
    ['a group', { groups: ['g'] }, { groups: ['h', 'g'] }, true],
    ['groups in another letter case', { groups: ['g'] }, { groups: ['G'] }, false],
    ['different groups', { groups: ['g'] }, { groups: ['h'] }, false],
    ['a domain', { emailDomains: ['a.example'] }, { emailDomains: ['b.example', 'A.example'] }, true],
    ['different domains', { emailDomains: ['a.example'] }, { emailDomains: ['b.example'] }, false],
    ['a group and anybody in a domain', { groups: ['g'] }, { emailDomains: ['a.example'] }, false],
    ['a group, and part of it', { groups: ['g'] }, { groups: ['g'], emailDomains: ['a.example'] }, true],
    [
      'a domain, and part of it',
      { emailDomains: ['a.example'] },
      { groups: ['g'], emailDomains: ['A.example'] },
      true,
    ],
    [
      'the same part of a group',
      { groups: ['g'], emailDomains: ['a.example', 'b.example'] },
      { groups: ['g', 'h'], emailDomains: ['b.example'] },
      true,
    ],
    [
      'different parts of a group',
      { groups: ['g'], emailDomains: ['a.example'] },
      { groups: ['g'], emailDomains: ['b.example'] },
      false,
    ],
    [
      'different groups in a domain',
      { groups: ['g'], emailDomains: ['a.example'] },
      { groups: ['h'], emailDomains: ['a.example'] },
      false,
    ],
    ['everybody, and a group', {}, { groups: ['g'] }, false],
  ])('%s', (_, one, other, isConflict) => {
    const expected = isConflict ? ['a', 'b'] : [];
    expect(Object.keys(found([matching('a', one), matching('b', other)])).sort()).toEqual(expected);
    expect(Object.keys(found([matching('a', other), matching('b', one)])).sort()).toEqual(expected);
  });

  it('compares with the first of all, and parts of a group with one another', () => {
    const conflicts = found([
      matching('a', { groups: ['g'], emailDomains: ['a.example'] }),
      matching('b', { groups: ['g'] }),
      matching('c', { groups: ['g'] }),
      matching('d', { groups: ['g'], emailDomains: ['a.example'] }),
      matching('e', { groups: ['g'], emailDomains: ['b.example'] }),
    ]);
    expect(
      Object.fromEntries(Object.entries(conflicts).map(([name, all]) => [name, Object.keys(all)])),
    ).toEqual({
      a: ['b', 'd'],
      b: ['a', 'c', 'd', 'e'],
      c: ['b'],
      d: ['a', 'b'],
      e: ['b'],
    });
    expect(conflicts['b']?.['a']).toContain('a wins');
  });

  it('finds those of gateways that share a database, and no others', () => {
    const on = (name: string, gatewayName: string) =>
      managedSettings(name, { match: { groups: ['g'] }, gatewayRefs: [{ name: gatewayName }] });
    const settings = [on('p', 'a'), on('q', 'b')];
    expect(found(settings, [gateway('a'), gateway('b')])).toEqual({});
    const sharing = [gateway('a', { database: 'one' }), gateway('b', { database: 'one' })];
    expect(found(settings, sharing)).toHaveProperty('p.q');
  });
});
