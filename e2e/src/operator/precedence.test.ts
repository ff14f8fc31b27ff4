import { beforeAll, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import {
  API_VERSION,
  parseManifest,
  type ClaudeGateway,
  type ManagedSettings,
  type ManagedSettingsSpecInput,
  type SpendPolicy,
  type SpendPolicySpecInput,
} from '@claude-gateway/crds';
import { SAMPLES } from '@claude-gateway/crds/testing';
import type { LimitContent, ManagedPolicyContent, SpendLimit } from '@claude-gateway/prisma';
import { loadDecisions, type Decisions, type Person } from './decisions.ts';
import { Random } from '../spend/random.ts';

/*
 * The operator says in a status which of several policies counts; the gateway decides it. Here both are asked about the
 * same policies, drawn by chance.
 */

let decisions: Decisions;
beforeAll(async () => {
  decisions = await loadDecisions();
});

const ROUNDS = 300;
const AT = Date.UTC(2027, 4, 5, 12);
const uidOf = (name: string): string => `uid-of-${name}`;

const resource = (kind: string, name: string, spec: unknown): unknown => {
  const metadata = { name, namespace: 'claude', uid: uidOf(name) };
  const parsed = parseManifest({ apiVersion: API_VERSION, kind, metadata, spec });
  return { ...parsed, metadata };
};
const spendPolicy = (name: string, spec: SpendPolicySpecInput) =>
  resource('SpendPolicy', name, spec) as SpendPolicy;
const managedSettings = (name: string, spec: ManagedSettingsSpecInput) =>
  resource('ManagedSettings', name, spec) as ManagedSettings;
const gateway = (managedSettingsMode: 'FirstMatch' | 'Layered') =>
  resource('ClaudeGateway', 'main', { ...SAMPLES.ClaudeGateway[2], managedSettingsMode }) as ClaudeGateway;

const NAMES = ['a', 'b', 'c', 'd', 'e'];

describe('of several spend policies for the same', () => {
  const MEMBER: Person = { sub: 'dora', email: 'dora@corp.example', groups: ['eng'] };

  function limitsOf(policy: SpendPolicy): readonly LimitContent[] {
    const result = decisions.limitsOf(policy);
    if ('problems' in result) throw new Error(JSON.stringify(result.problems));
    return result.limits;
  }

  /** @param age Greater when it was written later. */
  function rowsOf(policy: SpendPolicy, age: number): SpendLimit[] {
    const { name } = policy.metadata;
    return limitsOf(policy).map((content) => ({
      ...content,
      id: `spl_${name}`,
      policyName: name,
      owner: { kind: 'SpendPolicy', namespace: 'claude', name, uid: uidOf(name) },
      createdAt: new Date(age),
      updatedAt: new Date(age),
    }));
  }

  function applied(limits: readonly SpendLimit[]): Set<string> {
    const caps = decisions.compileCaps({ revision: 1n, limits }, { groupLimitMode: 'min' });
    return new Set(caps.resolve(MEMBER, AT).map(({ limit }) => limit.policyName ?? 'the admin API'));
  }

  it.each(['PerMember', 'Pooled'] as const)(
    'the status says which ones the gateway enforces (%s)',
    (sharing) => {
      const random = new Random(sharing === 'Pooled' ? 20 : 21);
      const verdicts = new Set<string>();
      for (let round = 0; round < ROUNDS; round++) {
        const ages = new Map<string, number>();
        const policies = NAMES.slice(0, random.int(2, NAMES.length)).map((name) => {
          ages.set(name, random.int(0, 1_000_000));
          const amount = random.pick([{ usd: '5' }, { usd: '6.00' }, { unlimited: 'USD' }] as const);
          return spendPolicy(name, {
            subject: { kind: 'Group', name: 'eng' },
            limits: [{ period: 'Daily', sharing, ...amount }],
            enforcement: {
              mode: random.pick(['Strict', 'Postpaid'] as const),
              whenShort: random.pick(['Refuse', 'ShrinkOutput'] as const),
            },
            timeZone: random.pick(['UTC', 'Europe/Berlin']),
          });
        });
        const enforced = applied(
          policies.flatMap((policy) => rowsOf(policy, ages.get(policy.metadata.name)!)),
        );
        const conflicts = decisions.spendConflicts(policies, [gateway('FirstMatch')]);

        const said = new Map<string, 'counts' | 'does not' | 'one of equals'>();
        for (const { metadata } of policies) {
          const { name } = metadata;
          const list = conflicts.get(uidOf(name)) ?? [];
          // Each is in conflict with another one: all are about the same.
          expect(list).not.toEqual([]);
          for (const { name: other, message } of list) {
            const [, counting] = /: (\w+) counts/.exec(message) ?? [];
            if (counting !== undefined) {
              verdicts.add('one counts');
              said.set(counting === name ? other : name, 'does not');
              if (said.get(counting) === undefined) said.set(counting, 'counts');
            } else if (message.includes('both count')) {
              verdicts.add('both count');
              for (const one of [name, other]) if (said.get(one) === undefined) said.set(one, 'counts');
            } else {
              const [older, younger] = ages.get(name)! < ages.get(other)! ? [name, other] : [other, name];
              const isAlike = message.includes('say the same');
              verdicts.add(isAlike ? 'the same' : 'the first');
              expect(message).toMatch(
                isAlike ? /: remove one$/ : /the one that the database got first counts$/,
              );
              said.set(older, said.get(older) === 'does not' ? 'does not' : 'one of equals');
              said.set(younger, 'one of equals');
              expect([older, younger].every((one) => enforced.has(one))).toBe(false);
              expect(enforced.has(younger)).toBe(false);
            }
          }
        }
        for (const [name, what] of said) {
          if (what !== 'one of equals')
            expect([round, name, enforced.has(name)]).toEqual([round, name, what === 'counts']);
        }
      }
      expect([...verdicts].sort()).toEqual(['both count', 'one counts', 'the first', 'the same']);
    },
  );

  it('a limit of the admin API beside them counts when it is lower', () => {
    const rows = rowsOf(
      spendPolicy('a', { subject: { kind: 'Group', name: 'eng' }, limits: [{ period: 'Daily', usd: '5' }] }),
      1,
    );
    const beside = (amount: bigint | null) =>
      applied([
        ...rows,
        ...rows.map((row) => ({ ...row, id: 'spl_0', policyName: null, owner: null, amount })),
      ]);
    expect([...beside(4_000_000_000n)]).toEqual(['the admin API']);
    expect([...beside(6_000_000_000n)]).toEqual(['a']);
    expect([...beside(null)]).toEqual(['a']);
  });

  it('the nearest subject decides, and unlimited stops the search there', () => {
    const limited = (name: string, subject: SpendPolicySpecInput['subject'], usd?: string) =>
      rowsOf(
        spendPolicy(name, {
          subject,
          limits: [{ period: 'Daily', ...(usd === undefined ? { unlimited: 'USD' } : { usd }) }],
        }),
        1,
      );
    const everybody = limited('everybody', { kind: 'Organization' }, '1');
    const eng = limited('eng', { kind: 'Group', name: 'eng' }, '2');
    const dora = limited('dora', { kind: 'User', name: 'Dora@corp.example' }, '3');
    const free = limited('free', { kind: 'User', name: 'dora' });
    const pool = rowsOf(
      spendPolicy('pool', {
        subject: { kind: 'Organization' },
        limits: [{ period: 'Daily', usd: '9', sharing: 'Pooled' }],
      }),
      1,
    );
    expect([...applied([...everybody, ...pool])]).toEqual(['everybody', 'pool']);
    expect([...applied([...everybody, ...eng, ...pool])]).toEqual(['eng', 'pool']);
    expect([...applied([...everybody, ...eng, ...dora, ...pool])]).toEqual(['dora', 'pool']);
    expect([...applied([...everybody, ...eng, ...free, ...pool])]).toEqual(['pool']);
    expect([...applied([...everybody, ...dora, ...free])]).toEqual(['dora']);
  });

  it('thresholds that are left out are those of the gateway, and none are none', () => {
    const severities = (spec: Pick<SpendPolicySpecInput, 'warnAtPercent'>): string[] => {
      const limits = rowsOf(
        spendPolicy('a', {
          subject: { kind: 'Organization' },
          limits: [{ period: 'Daily', usd: '1' }],
          ...spec,
        }),
        1,
      );
      const caps = decisions.compileCaps(
        { revision: 1n, limits },
        { groupLimitMode: 'min', warnAtPercent: [75, 95] },
      );
      const [cap] = caps.resolve(MEMBER, AT);
      return [50, 80, 99, 100].map((percent) =>
        decisions.severityOf({ cap: cap!, spent: (cap!.amount * BigInt(percent)) / 100n, held: 0n }),
      );
    };
    expect(severities({})).toEqual(['normal', 'warning', 'critical', 'critical']);
    expect(severities({ warnAtPercent: [] })).toEqual(['normal', 'normal', 'normal', 'critical']);
    expect(severities({ warnAtPercent: [90, 40] })).toEqual(['warning', 'warning', 'critical', 'critical']);
  });

  it('the gateway knows every time zone that is accepted', () => {
    const odd = [
      'Local',
      'Factory',
      'GMT+1',
      'Etc/GMT+1',
      'EST5EDT',
      'utc',
      'europe/berlin',
      'posixrules',
      '+02:00',
    ];
    const accepted = [...Intl.supportedValuesOf('timeZone'), ...odd].filter((timeZone) => {
      const policy = spendPolicy('a', {
        subject: { kind: 'Organization' },
        limits: [{ period: 'Daily', usd: '1' }],
      });
      return 'limits' in decisions.limitsOf({ ...policy, spec: { ...policy.spec, timeZone } });
    });
    expect(accepted.length).toBeGreaterThan(400);
    expect(accepted.filter((zone) => !decisions.isTimeZone(zone))).toEqual([]);
  });
});

describe('of several managed settings for the same people', () => {
  const PEOPLE: readonly Person[] = ['g1', 'g2', 'g3', undefined].flatMap((group) =>
    ['d1.example', 'd2.example', undefined].map((domain) => ({
      sub: 'dora',
      groups: group === undefined ? [] : [group],
      ...(domain !== undefined && { email: `dora@${domain}` }),
    })),
  );

  function rowsOf(settings: ManagedSettings) {
    const result = decisions.managedPoliciesOf(settings);
    if ('problems' in result) throw new Error(JSON.stringify(result.problems));
    const { name } = settings.metadata;
    return result.policies.map((policy: ManagedPolicyContent) => ({
      ...policy,
      owner: { kind: 'ManagedSettings', namespace: 'claude', name, uid: uidOf(name) },
      documentHash: createHash('sha256').update(JSON.stringify(policy.document)).digest('hex'),
    }));
  }

  /** Names of the settings that somebody gets, the one that wins first. */
  function served(
    settings: readonly ManagedSettings[],
    mode: 'FirstMatch' | 'Layered',
    person: Person,
  ): string[] {
    const policy = decisions.policyOf(
      settings.flatMap(rowsOf),
      mode === 'Layered' ? 'layered' : 'first_match',
    );
    const answer = policy.settingsFor(person);
    return answer.state === 'served'
      ? answer.origins.map(({ ownerUid }) => ownerUid.replace('uid-of-', ''))
      : [];
  }

  it.each(['FirstMatch', 'Layered'] as const)(
    'the status says which ones the gateway serves (%s)',
    (mode) => {
      const random = new Random(mode === 'Layered' ? 30 : 31);
      const some = (names: readonly string[]): string[] | undefined => {
        const found = names.filter(() => random.chance(0.6));
        return found.length === 0 || random.chance(0.4) ? undefined : found;
      };
      const seen = new Set<string>();
      for (let round = 0; round < ROUNDS; round++) {
        const settings = NAMES.slice(0, 2).map((name) => {
          const [groups, emailDomains] = [some(['g1', 'g2', 'g3']), some(['D1.example', 'd2.example'])];
          return managedSettings(name, {
            match: { ...(groups && { groups }), ...(emailDomains && { emailDomains }) },
            priority: random.pick([0, 0, 1]),
            settings: { model: name },
          });
        });
        const [a, b] = settings as [ManagedSettings, ManagedSettings];
        const both = PEOPLE.filter((person) =>
          settings.every((one) => served([one], mode, person).length === 1),
        );
        const [conflict, ...more] =
          decisions.settingsConflicts(settings, [gateway(mode)]).get(uidOf('a')) ?? [];
        expect(more).toEqual([]);
        const isBase = ({ spec: { match } }: ManagedSettings) => Object.keys(match).length === 0;
        const inCommon = (key: 'groups' | 'emailDomains') =>
          a.spec.match[key]?.some((name) => b.spec.match[key]?.includes(name)) === true;
        const undecided =
          isBase(a) && isBase(b)
            ? true
            : a.spec.priority === b.spec.priority &&
              (inCommon('groups') || inCommon('emailDomains')) &&
              both.length > 0;
        expect([round, conflict !== undefined]).toEqual([round, undecided]);
        if (conflict === undefined) continue;
        const [, winner = ''] = /: (\w) wins|differ (\w) wins/.exec(conflict.message)?.filter(Boolean) ?? [];
        const loser = winner === 'a' ? 'b' : 'a';
        const apply = conflict.message.includes('both apply') ? [winner, loser] : [winner];
        seen.add(isBase(a) ? 'base' : apply.length === 2 ? 'both' : 'one');
        for (const person of both) expect([round, served(settings, mode, person)]).toEqual([round, apply]);
      }
      expect([...seen].sort()).toEqual(['base', mode === 'Layered' ? 'both' : 'one']);
    },
  );

  it('the higher priority goes first, then the name, and the base lies below them', () => {
    const settings = [
      managedSettings('z-base', { priority: 100, settings: {} }),
      managedSettings('b', { match: { groups: ['g1'] }, priority: 2, settings: {} }),
      managedSettings('a', { match: { groups: ['g1'] }, priority: 1, settings: {} }),
      managedSettings('c', { match: { groups: ['g1'] }, priority: 2, settings: {} }),
    ];
    const person = { sub: 'dora', groups: ['g1'] };
    expect(served(settings, 'Layered', person)).toEqual(['b', 'c', 'a', 'z-base']);
    expect(served(settings, 'FirstMatch', person)).toEqual(['b', 'z-base']);
    expect(served(settings, 'FirstMatch', { sub: 'dora', groups: [] })).toEqual(['z-base']);
  });

  it.each<[string, Record<string, unknown>]>([
    ['nothing', {}],
    ['servers', { mcpServers: {} }],
    ['a rule that does not parse', { permissions: { deny: ['Read('] } }],
    ['a value of another shape', { env: [] }],
    ['what JSON does not know', { custom: Number.NaN }],
    ['keys that nobody knows', { custom: { deep: [1, 'two', null] } }],
    ['no models', { availableModels: [] }],
  ])('a document is accepted exactly when the gateway serves it: %s', (_, settings) => {
    const sample = managedSettings('a', { settings: {} });
    const judged = decisions.managedPoliciesOf({ ...sample, spec: { ...sample.spec, settings } });
    const row = { ...rowsOf(sample)[0]!, document: { match: {}, cli: settings } };
    expect('policies' in judged).toBe(decisions.isServed(row));
  });
});
