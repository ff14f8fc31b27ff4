import { describe, expect, it } from '@jest/globals';
import { compileClaim, compileGroupsQuery, hasGroupOverage, readGroups, readText } from './claims.ts';

const CLAIMS = {
  email: ' Alice@corp.example ',
  'https://corp.example/groups': ['namespaced'],
  resource_access: { gateway: { roles: ['eng'] }, 'a/b': { 'c~d': 'escaped' } },
  list: [{ name: 'first' }],
  '': 'empty key',
};

describe('names of claims', () => {
  it.each<[string, unknown]>([
    ['https://corp.example/groups', ['namespaced']],
    ['/resource_access/gateway/roles', ['eng']],
    ['/resource_access/a~1b/c~0d', 'escaped'],
    ['/list/0/name', 'first'],
    ['/', 'empty key'],
    ['resource_access.gateway.roles', undefined],
    ['/resource_access/gateway/roles/none', undefined],
    ['/email/length', undefined],
    ['__proto__', undefined],
    ['/constructor/name', undefined],
    ['toString', undefined],
  ])('%s', (name, value) => {
    expect(compileClaim(name)(CLAIMS)).toEqual(value);
  });
});

describe('a JSONPath to the groups', () => {
  const claims = {
    ...CLAIMS,
    memberships: [
      { kind: 'team', name: 'eng' },
      { kind: 'site', name: 'berlin' },
      { kind: 'team', name: 'eng' },
      { kind: 'team', name: 5 },
    ],
  };
  it.each<[string, readonly string[] | null]>([
    ["$.memberships[?@.kind=='team'].name", ['eng']],
    ['$.resource_access[*].roles[*]', ['eng']],
    ['$.resource_access.gateway.roles', ['eng']],
    ["$['https://corp.example/groups']", ['namespaced']],
    ["$.resource_access['a/b']['c~d']", ['escaped']],
    ['$.absent[*].name', null],
    ['$.memberships[*].absent', null],
    ['$.__proto__', null],
  ])('%s', (query, groups) => {
    expect(readGroups(claims, compileGroupsQuery(query))).toEqual(groups);
  });
});

describe('groups', () => {
  it.each<[unknown, readonly string[] | null]>([
    [
      ['a', 'b', 'a'],
      ['a', 'b'],
    ],
    ['Domain Users', ['Domain Users']],
    ['CN=eng,OU=groups,DC=corp', ['CN=eng,OU=groups,DC=corp']],
    [['a', 7, null, '', { name: 'b' }], ['a']],
    [[], []],
    ['', []],
    [{ a: 1 }, []],
    [null, null],
    [undefined, null],
  ])('%j', (groups, expected) => {
    expect(readGroups({ groups }, compileClaim('groups'))).toEqual(expected);
  });
});

it('reads the first text that is one', () => {
  const readers = ['missing', 'list', 'email'].map(compileClaim);
  expect(readText(CLAIMS, readers)).toBe('Alice@corp.example');
  expect(readText({ email: '  ' }, readers)).toBeNull();
});

it('sees that Entra left groups out', () => {
  expect(hasGroupOverage({ hasgroups: 'true' })).toBe(true);
  expect(hasGroupOverage({ _claim_names: { groups: 'src1' } })).toBe(true);
  expect(hasGroupOverage({ _claim_names: { other: 'src1' } })).toBe(false);
  expect(hasGroupOverage({ groups: [] })).toBe(false);
});
