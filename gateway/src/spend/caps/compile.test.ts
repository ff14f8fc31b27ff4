import { describe, expect, it } from '@jest/globals';
import type { SpendLimit } from '@claude-gateway/prisma';
import type { AppliedCap, CapHolder, CapSnapshot } from '../types.ts';
import { compileCaps, type CapOptions } from './compile.ts';
import { group, limit, ORGANIZATION, pool, user } from './testing/limits.ts';

const AT = Date.parse('2027-03-10T12:00Z');
const DAY_MS = 86_400_000;
const MIN: CapOptions = { groupLimitMode: 'min' };
const MAX: CapOptions = { groupLimitMode: 'max' };
const ADA: CapHolder = { sub: 'ada-sub', email: 'ada@x.example', groups: ['eng', 'ops'] };

function compile(limits: readonly SpendLimit[], options = MIN): CapSnapshot {
  return compileCaps({ revision: 7n, limits }, options);
}

/** `source amount` of every cap, pools with the name of the group; alternatives after a bar. */
function applied(limits: readonly SpendLimit[], options = MIN, holder = ADA, at = AT): string[] {
  return compile(limits, options).resolve(holder, at).map(textOf);
}

function textOf(cap: AppliedCap): string {
  const { subject, otherwise } = cap;
  const whose =
    subject.kind === 'user' ? '' : subject.kind === 'group_pool' ? ` pool ${subject.group}` : ' pool';
  return `${cap.source} ${cap.amount}${whose}${otherwise === undefined ? '' : ` | ${textOf(otherwise)}`}`;
}

describe('the cap of one member', () => {
  // Each of these is what the reference does, too.
  it.each<[string, readonly SpendLimit[], string[], string[]]>([
    ['nobody says anything', [], [], []],
    [
      'the own one before all others',
      [limit(user('ada-sub'), 5n), limit(group('eng'), 1n), limit(ORGANIZATION, 2n)],
      ['user 5'],
      ['user 5'],
    ],
    [
      'the own one is unlimited',
      [limit(user('ada-sub'), null), limit(group('eng'), 0n), limit(ORGANIZATION, 0n)],
      [],
      [],
    ],
    ['the own one blocks', [limit(user('ada-sub'), 0n), limit(ORGANIZATION, 5n)], ['user 0'], ['user 0']],
    [
      'the group before the organization',
      [limit(group('eng'), 5n), limit(ORGANIZATION, 1n)],
      ['group 5'],
      ['group 5'],
    ],
    ['the group is unlimited', [limit(group('eng'), null), limit(ORGANIZATION, 0n)], [], []],
    ['two groups', [limit(group('eng'), 5n), limit(group('ops'), 3n)], ['group 3'], ['group 5']],
    [
      'one of two groups is unlimited',
      [limit(group('eng'), 5n), limit(group('ops'), null), limit(ORGANIZATION, 1n)],
      ['group 5'],
      [],
    ],
    [
      'one of two groups blocks, the other is unlimited',
      [limit(group('eng'), 0n), limit(group('ops'), null)],
      ['group 0'],
      [],
    ],
    [
      'groups of other people',
      [limit(group('hr'), 0n), limit(ORGANIZATION, 5n)],
      ['organization 5'],
      ['organization 5'],
    ],
    ['the organization is unlimited', [limit(ORGANIZATION, null)], [], []],
    ['a group in another letter case', [limit(group('ENG'), 0n)], [], []],
    ['a group with spaces around it', [limit(group(' eng '), 0n)], [], []],
    ['a subject in another letter case', [limit(user('ADA-SUB'), 0n)], [], []],
  ])('%s', (_case, limits, min, max) => {
    expect(applied(limits, MIN)).toEqual(min);
    expect(applied(limits, MAX)).toEqual(max);
  });

  it('is found for each period and unit by itself', () => {
    const limits = [
      limit(user('ada-sub'), 1n, { period: 'daily' }),
      limit(group('eng'), 2n, { period: 'weekly' }),
      limit(group('eng'), 3n, { unit: 'tokens' }),
      limit(ORGANIZATION, 4n),
      limit(ORGANIZATION, 5n, { period: 'daily' }),
      limit(ORGANIZATION, 6n, { unit: 'tokens' }),
      limit(ORGANIZATION, 7n, { unit: 'tokens_with_cache_reads' }),
    ];
    expect(applied(limits).toSorted()).toEqual(
      ['user 1', 'group 2', 'group 3', 'organization 4', 'organization 7'].toSorted(),
    );
  });

  it('may be named by address, in any letter case', () => {
    expect(applied([limit(user('Ada@X.Example'), 5n)])).toEqual(['user 5']);
    expect(applied([limit(user('ada@x.example'), 5n)], MIN, { ...ADA, email: 'ADA@x.example' })).toEqual([
      'user 5',
    ]);
    expect(applied([limit(user('bob@x.example'), 5n)])).toEqual([]);
    expect(applied([limit(user('ada@x.example'), 5n)], MIN, { sub: 'x', groups: [] })).toEqual([]);
    // A subject that looks like one.
    expect(applied([limit(user('Ada@IdP'), 5n)], MIN, { sub: 'Ada@IdP', groups: [] })).toEqual(['user 5']);
  });

  it('is the tightest when both subject and address are named', () => {
    const limits = [limit(user('ada-sub'), 5n), limit(user('ada@x.example'), 3n)];
    expect(applied(limits)).toEqual(['user 3']);
    expect(applied(limits, MAX)).toEqual(['user 3']);
    expect(applied([limit(user('ada-sub'), null), limit(user('ada@x.example'), 3n)])).toEqual(['user 3']);
  });

  it('is the tightest of what several policies say about one group, whatever the mode', () => {
    const limits = [
      limit(group('eng'), 5n),
      limit(group('eng'), 3n),
      limit(group('eng'), null),
      limit(group('ops'), 4n),
    ];
    expect(applied(limits)).toEqual(['group 3']);
    expect(applied(limits, MAX)).toEqual(['group 4']);
  });

  it('of equal ones is the strictest, then the oldest', () => {
    const [postpaid, strict, younger] = [
      limit(group('eng'), 5n, { mode: 'postpaid' }),
      limit(group('ops'), 5n, { mode: 'strict' }),
      limit(group('eng'), 5n, { mode: 'strict' }),
    ];
    for (const limits of [
      [postpaid, strict, younger],
      [younger, strict, postpaid],
    ]) {
      for (const groups of [
        ['eng', 'ops'],
        ['ops', 'eng'],
      ]) {
        const [cap] = compile(limits).resolve({ ...ADA, groups }, AT);
        expect(cap?.limit).toBe(strict);
      }
    }
  });

  it('is one for each time zone: they are different budgets', () => {
    const tokyo = { timeZone: 'Asia/Tokyo' };
    const limits = [
      limit(group('eng'), 5n),
      limit(group('eng'), 9n, tokyo),
      limit(group('ops'), 7n),
      limit(group('ops'), 8n, tokyo),
      limit(ORGANIZATION, 1n, { timeZone: 'Europe/Berlin' }),
    ];
    expect(applied(limits).toSorted()).toEqual(['group 5', 'group 8']);
    // The wider group is the one whose tightest limit is wider: then all of its limits count.
    expect(applied(limits, MAX).toSorted()).toEqual(['group 7', 'group 8']);
    const caps = compile(limits).resolve(ADA, AT);
    expect(new Set(caps.map(({ window }) => window.id)).size).toBe(2);
  });

  it('is spent from the same window wherever it comes from', () => {
    const ids = [limit(user('ada-sub'), 1n), limit(group('eng'), 2n), limit(ORGANIZATION, 3n)].map(
      (one) => compile([one]).resolve(ADA, AT)[0]?.window,
    );
    expect(ids[0]).toMatchObject({ subject: { kind: 'user', sub: 'ada-sub' }, unit: 'nano_usd' });
    expect(new Set(ids.map((window) => window?.id)).size).toBe(1);
  });

  it('survives names that mean something to JavaScript', () => {
    for (const name of ['__proto__', 'constructor', 'toString', '🦊', '\u0000', '']) {
      expect(applied([limit(group(name), 3n)], MIN, { sub: name, groups: [name] })).toEqual(['group 3']);
      expect(applied([limit(user(name), 3n)], MIN, { sub: name, groups: [name] })).toEqual(['user 3']);
      expect(applied([limit(group('eng'), 3n)], MIN, { sub: name, groups: [name] })).toEqual([]);
    }
  });

  it('can be asked for with what is unlimited', () => {
    const unlimited = limit(group('eng'), null);
    const snapshot = compile([
      unlimited,
      limit(ORGANIZATION, 5n),
      limit(ORGANIZATION, 3n, { unit: 'tokens' }),
    ]);
    expect(snapshot.memberLimit(ADA, 'monthly', AT)).toMatchObject({
      limit: unlimited,
      source: 'group',
      window: { startsAt: new Date('2027-03-01'), endsAt: new Date('2027-04-01') },
    });
    expect(snapshot.memberLimit({ ...ADA, groups: [] }, 'monthly', AT)).toMatchObject({
      source: 'organization',
    });
    expect(snapshot.memberLimit(ADA, 'daily', AT)).toBeUndefined();
  });
});

describe('pools', () => {
  const pools = [
    pool(group('eng'), 4n),
    pool(group('ops'), 9n),
    pool(group('hr'), 1n),
    pool(ORGANIZATION, 50n),
    limit(user('ada-sub'), null),
  ];

  it('apply besides the own cap, all of them', () => {
    expect(applied([...pools, limit(ORGANIZATION, 3n, { period: 'daily' })])).toEqual([
      'organization 3',
      'group 4 pool eng',
      'group 9 pool ops',
      'organization 50 pool',
    ]);
    expect(applied(pools, MAX)).toHaveLength(3);
    expect(applied(pools, MIN, { sub: 'x', groups: [] })).toEqual(['organization 50 pool']);
  });

  it('are shared: one window for everybody', () => {
    const snapshot = compile(pools);
    const [mine, bobs] = [ADA, { sub: 'bob', groups: ['eng'] }].map(
      (holder) => snapshot.resolve(holder, AT)[0],
    );
    expect(mine?.window).toMatchObject({ subject: { kind: 'group_pool', group: 'eng' } });
    expect(bobs?.window).toBe(mine?.window);
  });

  it('count once for a group that is listed twice', () => {
    expect(applied(pools, MIN, { sub: 'x', groups: ['eng', 'eng'] })).toEqual([
      'group 4 pool eng',
      'organization 50 pool',
    ]);
  });

  it('without an amount do not apply', () => {
    expect(applied([pool(group('eng'), null), pool(ORGANIZATION, null)])).toEqual([]);
  });

  it('are the tightest of what several policies say', () => {
    expect(applied([pool(group('eng'), 4n), pool(group('eng'), 3n), pool(group('eng'), null)])).toEqual([
      'group 3 pool eng',
    ]);
  });

  // As the reference does, which has no other way.
  describe('of which one pays', () => {
    const ORDER: CapOptions = { groupLimitMode: 'min', pooledConflictRule: 'default_order' };
    const LIST: CapOptions = {
      groupLimitMode: 'min',
      pooledConflictRule: 'priority_list',
      pooledPriorityOrder: ['hr', 'eng'],
    };

    it('takes the largest first, then the next', () => {
      expect(applied(pools, ORDER)).toEqual(['group 9 pool ops | group 4 pool eng', 'organization 50 pool']);
      expect(applied(pools, ORDER, { ...ADA, groups: ['ops', 'hr', 'eng'] })).toEqual([
        'group 9 pool ops | group 4 pool eng | group 1 pool hr',
        'organization 50 pool',
      ]);
    });

    it('takes equal ones by name', () => {
      const equal = ['c', 'a', 'b'].map((name) => pool(group(name), 4n));
      expect(applied(equal, ORDER, { sub: 'x', groups: ['c', 'b', 'a'] })).toEqual([
        'group 4 pool a | group 4 pool b | group 4 pool c',
      ]);
    });

    it('takes groups of the list first, in its order', () => {
      const holder = { sub: 'x', groups: ['ops', 'eng', 'hr'] };
      expect(applied(pools, LIST, holder)[0]).toBe('group 1 pool hr | group 4 pool eng | group 9 pool ops');
      expect(applied(pools, LIST, ADA)[0]).toBe('group 4 pool eng | group 9 pool ops');
    });

    it('ignores the list under the default order', () => {
      expect(applied(pools, { ...LIST, pooledConflictRule: 'default_order' })[0]).toMatch(
        /^group 9 pool ops/,
      );
    });

    it('chooses among pools of one period, unit and time zone', () => {
      const limits = [
        pool(group('eng'), 4n),
        pool(group('ops'), 5n),
        pool(group('ops'), 6n, { period: 'daily' }),
        pool(group('ops'), 7n, { unit: 'tokens' }),
        pool(group('ops'), 8n, { timeZone: 'Asia/Tokyo' }),
      ];
      expect(applied(limits, ORDER).toSorted()).toEqual(
        [
          'group 5 pool ops | group 4 pool eng',
          'group 6 pool ops',
          'group 7 pool ops',
          'group 8 pool ops',
        ].toSorted(),
      );
    });
  });
});

describe('a snapshot', () => {
  const limits = [
    limit(ORGANIZATION, 5n),
    limit(ORGANIZATION, 3n, { period: 'daily', timeZone: 'America/New_York' }),
    pool(group('eng'), 9n, { period: 'weekly' }),
  ];

  it('gives the same array until the first window ends', () => {
    const snapshot = compile(limits);
    const caps = snapshot.resolve(ADA, AT);
    expect(caps.map(({ window }) => window.period).toSorted()).toEqual(['daily', 'monthly', 'weekly']);
    const endsAt = Date.parse('2027-03-11T05:00Z');
    expect(snapshot.resolve({ ...ADA, groups: [...ADA.groups] }, endsAt - 1)).toBe(caps);
    const later = snapshot.resolve(ADA, endsAt);
    expect(later).not.toBe(caps);
    const daily = (found: readonly AppliedCap[]) =>
      found.find(({ window }) => window.period === 'daily')?.window;
    expect(daily(later)?.startsAt).toEqual(daily(caps)?.endsAt);
    expect(daily(later)?.id).not.toBe(daily(caps)?.id);
    // The others go on.
    expect(later.filter((cap) => caps.some(({ window }) => window.id === cap.window.id))).toHaveLength(2);
    // A request that was admitted before is asked about again.
    expect(snapshot.resolve(ADA, endsAt - 1)).toEqual(caps);
  });

  it('turns days, weeks and months over', () => {
    const snapshot = compile([
      limit(ORGANIZATION, 1n, { period: 'daily' }),
      limit(ORGANIZATION, 2n, { period: 'weekly' }),
      limit(ORGANIZATION, 3n),
      limit(ORGANIZATION, 4n, { period: 'daily', timeZone: 'Europe/Berlin', unit: 'tokens' }),
    ]);
    const seen = new Map<string, Set<string>>();
    for (let at = Date.parse('2027-03-01T00:00Z'); at < Date.parse('2027-05-01T00:00Z'); at += DAY_MS / 24) {
      for (const { amount, window } of snapshot.resolve(ADA, at)) {
        expect([window.startsAt.getTime() <= at, at < window.endsAt.getTime()]).toEqual([true, true]);
        const ids = seen.get(amount.toString()) ?? new Set();
        seen.set(amount.toString(), ids.add(window.id));
      }
    }
    expect([...seen].map(([amount, ids]) => `${amount}:${ids.size}`)).toEqual(['1:61', '4:62', '2:9', '3:2']);
  });

  it('sees that groups or the address changed', () => {
    const snapshot = compile([...limits, limit(group('ops'), 1n), limit(user('new@x.example'), 2n)]);
    const monthly = (holder: CapHolder): string | undefined =>
      snapshot
        .resolve(holder, AT)
        .map(textOf)
        .find((text) => !text.includes('pool') && text !== 'organization 3');
    expect(monthly(ADA)).toBe('group 1');
    expect(monthly({ ...ADA, groups: ['eng'] })).toBe('organization 5');
    expect(monthly({ ...ADA, groups: ['eng', 'hr'] })).toBe('organization 5');
    expect(monthly({ ...ADA, email: 'new@x.example' })).toBe('user 2');
    expect(monthly(ADA)).toBe('group 1');
  });

  it('remembers a bounded number of people', () => {
    const snapshot = compile(limits);
    const first = snapshot.resolve(ADA, AT);
    for (let i = 0; i < 60_000; i++) snapshot.resolve({ sub: `u${i}`, groups: [] }, AT);
    expect(snapshot.resolve(ADA, AT)).not.toBe(first);
    expect(snapshot.resolve(ADA, AT)).toEqual(first);
  });

  it('refuses limits that nobody can enforce, naming all of them', () => {
    const wrong = [
      limit(ORGANIZATION, 1n, { id: 'spl_a', timeZone: 'Mars/Olympus', policyName: 'space' }),
      limit(ORGANIZATION, -1n, { id: 'spl_b' }),
      pool(user('ada'), 1n, { id: 'spl_c' }),
      limit(ORGANIZATION, 1n, { id: 'spl_d', period: 'yearly' as 'daily' }),
    ];
    expect(() => compile([...limits, ...wrong])).toThrow(
      /spl_a \(space\): there is no time zone "Mars\/Olympus".*spl_b.*below zero.*spl_c.*pool.*spl_d.*yearly/,
    );
  });
});

it('lets limits that name no thresholds warn at those of the configuration', () => {
  const limits = [
    limit(ORGANIZATION, 5n, { warnAtPercent: [] }),
    limit(ORGANIZATION, 9n, { warnAtPercent: [50], period: 'daily' }),
  ];
  const caps = compile(limits, { ...MIN, warnAtPercent: [80, 90] }).resolve(ADA, AT);
  expect(caps.map((cap) => cap.limit.warnAtPercent).sort()).toEqual([[50], [80, 90]]);
});

it('takes no address for another one that only Unicode spells alike', () => {
  const limits = [limit(user('Kim@X.example'), 5n), limit(ORGANIZATION, 1n)];
  const holder = (email: string): CapHolder => ({ sub: 'somebody', email, groups: [] });
  expect(applied(limits, MIN, holder('kim@x.example'))).toEqual(['user 5']);
  // U+212A (KELVIN SIGN), which Unicode writes as k in lower case.
  expect(applied(limits, MIN, holder('\u212Aim@x.example'))).toEqual(['organization 1']);
  expect(applied(limits, MIN, { sub: '\u212Aim@x.example', groups: [] })).toEqual(['organization 1']);
});

it('says which groups it names', () => {
  const caps = compile([limit(group('eng'), 5n), pool(group('ops'), 9n)]);
  expect(['eng', 'ops', 'all'].filter((name) => caps.namesGroup(name))).toEqual(['eng', 'ops']);
});
