import { describe, expect, it } from '@jest/globals';
import { createAudit } from '../observe/audit.ts';
import { createLog } from '../observe/log.ts';
import { LivePolicy } from './live-policy.ts';
import { createRowReader, type PolicyRow, type ServedRows } from './policy-rows.ts';
import { compilePolicy } from './policy.ts';
import { load, person, type ConfigInFile, type PolicyInFile } from './testing/fixtures.ts';
import { row } from './testing/rows.ts';

const OPTIONS = { publicUrl: 'http://gateway.example' };
const NOW = new Date('2026-11-23T00:00:00Z');

function live(file: ConfigInFile, policies: readonly PolicyRow[] = []) {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLog('info', stream);
  const audit = createAudit(stream);
  const read = createRowReader({ log, audit });
  const listeners = new Set<(rows: ServedRows) => void>();
  const rows = {
    current: read({ revision: 1n, policies }),
    onSwap(listener: (rows: ServedRows) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const swaps: bigint[] = [];
  const policy: LivePolicy = new LivePolicy({
    source: load(file),
    options: OPTIONS,
    rows,
    onSwap: () => swaps.push(policy.revision),
    log,
    audit,
  });
  const swap = (next: ServedRows): void => {
    rows.current = next;
    for (const listener of listeners) listener(next);
  };
  const set = (next: readonly PolicyRow[]): void =>
    swap(read({ revision: rows.current.revision + 1n, policies: next }));
  return { policy, lines, swaps, listeners, swap, set };
}

const modelOf = (policy: LivePolicy, groups: readonly string[]): unknown => {
  const answer = policy.settingsFor(person(groups));
  return answer.state === 'served' ? answer.document.settings['model'] : answer.state;
};

/** Everything of an answer but where it came from. */
const anyOrigins = (answer: object): object => ({ ...answer, origins: [] });

/** mulberry32: the same people and policies in every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const GROUPS = ['a', 'b', 'c', 'd', 'e'];
const DOMAINS = ['corp.example', 'partner.example', 'other.example'];
const MODELS = ['opus', 'sonnet', 'haiku', 'claude-haiku-4-5'];

function randomPolicies(random: () => number): PolicyInFile[] {
  const some = (from: readonly string[]) => from.filter(() => random() < 0.4);
  const one = (from: readonly string[]) => from[Math.floor(random() * from.length)] as string;
  const specific = Array.from({ length: Math.floor(random() * 7) }, (): PolicyInFile => {
    const groups = some(GROUPS);
    return {
      match: {
        ...(groups.length > 0 && { groups }),
        ...((groups.length === 0 || random() < 0.3) && { email_domain: one(DOMAINS) }),
      },
      cli: {
        model: one(MODELS),
        ...(random() < 0.5 && { availableModels: some(MODELS) }),
        permissions: { deny: some(['WebFetch', 'Bash', 'Read(./.env)']) },
        env: { [one(GROUPS)]: one(GROUPS) },
      },
      ...(random() < 0.5 && { desktop: { disabledBuiltinTools: some(['WebSearch', 'Bash']) } }),
      ...(random() < 0.5 && { serve_to_desktop: random() < 0.5 }),
    };
  });
  return random() < 0.7
    ? [...specific, { match: {}, cli: { permissions: { deny: ['Base'] }, env: { base: '1' } }, desktop: {} }]
    : specific;
}

describe('policies of resources', () => {
  it.each(['first_match', 'layered'] as const)('do what the same ones in the file do (%s)', (policy_mode) => {
    const random = randomOf(5);
    let served = 0;
    for (let round = 0; round < 100; round++) {
      const policies = randomPolicies(random);
      const inFile = compilePolicy(load({ managed: { policy_mode, policies } }), OPTIONS);
      const rows = policies.map((document, index) => row(document, { priority: -index }));
      // Wherever the border is: some of them in the file, all others rows.
      const border = Math.floor(random() * (policies.length + 1));
      const { policy: mixed } = live(
        { managed: { policy_mode, policies: policies.slice(border) } },
        rows.slice(0, border),
      );
      const { policy: asRows } = live({ managed: { policy_mode, policies: [] } }, rows.toReversed());
      for (let who = 0; who < 25; who++) {
        const domain = DOMAINS[Math.floor(random() * DOMAINS.length)] as string;
        const principal = person(
          GROUPS.filter(() => random() < 0.4),
          random() < 0.1 ? undefined : `polly@${domain}`,
        );
        for (const candidate of [asRows, mixed]) {
          for (const forDesktop of [false, true]) {
            const wanted = inFile.settingsFor(principal, forDesktop);
            expect(anyOrigins(candidate.settingsFor(principal, forDesktop))).toEqual(anyOrigins(wanted));
            if (wanted.state === 'served') served++;
          }
          expect(candidate.listModels(principal)).toEqual(inFile.listModels(principal));
          expect(anyOrigins(candidate.bootstrapFor(principal, NOW))).toEqual(
            anyOrigins(inFile.bootstrapFor(principal, NOW)),
          );
        }
      }
    }
    expect(served).toBeGreaterThan(1000);
  });

  const FILE: ConfigInFile = {
    managed: {
      policies: [
        { match: { groups: ['eng'] }, cli: { model: 'file-eng' } },
        { match: { groups: ['ops'] }, cli: { model: 'file-ops' } },
        { match: {}, cli: { model: 'file-base' } },
      ],
    },
  };

  it('come before those of the file, and a base behind all, whatever its priority', () => {
    const { policy, set } = live(FILE);
    expect(['eng', 'ops', 'x'].map((group) => modelOf(policy, [group]))).toEqual([
      'file-eng',
      'file-ops',
      'file-base',
    ]);
    set([row({ match: { groups: ['eng'] }, cli: { model: 'row-eng' } })]);
    expect(['eng', 'ops', 'x'].map((group) => modelOf(policy, [group]))).toEqual([
      'row-eng',
      'file-ops',
      'file-base',
    ]);
    set([
      row({ match: {}, cli: { model: 'row-base', env: { BASE: '1' } } }, { priority: 100 }),
      row({ match: { groups: ['eng'] }, cli: { model: 'row-eng' } }, { priority: -100 }),
      row({ match: {}, cli: { model: 'lower-base' } }, { priority: 99 }),
    ]);
    expect(['eng', 'ops', 'x'].map((group) => modelOf(policy, [group]))).toEqual([
      'row-eng',
      'file-ops',
      'row-base',
    ]);
    expect(policy.settingsFor(person(['eng']))).toMatchObject({
      document: { settings: { env: { BASE: '1' } } },
      origins: [
        { documentHash: expect.stringContaining('row-eng') },
        { documentHash: expect.stringContaining('row-base') },
      ],
    });
    set([]);
    expect(modelOf(policy, ['eng'])).toBe('file-eng');
  });

  it('decide about models at the next request', () => {
    const { policy, set, swaps } = live({});
    const polly = person(['eng']);
    const only = (model: string) => row({ cli: { availableModels: [model], enforceAvailableModels: true } });
    expect(policy.checkModel(polly, 'claude-opus-4-8')).toBeDefined();
    const first = policy.settingsFor(polly);
    set([only('haiku')]);
    expect(() => policy.checkModel(polly, 'claude-opus-4-8')).toThrow(/claude-opus-4-8/);
    expect(first).toEqual({ state: 'no_policy' });
    set([only('opus')]);
    expect(policy.checkModel(polly, 'claude-opus-4-8')).toBeDefined();
    expect(swaps).toEqual([2n, 3n]);
    expect(policy.revision).toBe(3n);
  });

  it('are left out when they are spelt otherwise than the rest, and it says so once', () => {
    const { policy, lines, set } = live(FILE);
    const good = row({ match: { groups: ['x'] }, cli: { model: 'good' } }, { owned: 'good' });
    const odd = row({ match: { groups: ['eng'] }, code: { model: 'odd' } }, { owned: 'odd', priority: 9 });
    set([good, odd]);
    set([good, odd]);
    expect(modelOf(policy, ['eng'])).toBe('file-eng');
    expect(modelOf(policy, ['x'])).toBe('good');
    const warnings = lines.filter(({ level }) => level === 'warn');
    expect(warnings).toEqual([
      expect.objectContaining({ msg: expect.stringContaining('ManagedSettings claude/odd is left out') }),
    ]);
    // Among rows the first decides.
    const { policy: rows } = live({}, [good, odd]);
    expect([modelOf(rows, ['eng']), modelOf(rows, ['x'])]).toEqual(['odd', 'no_policy']);
  });

  it('are named in warnings; those of the file keep their places', () => {
    const restricted = { availableModels: ['opus'] };
    const { policy } = live({ managed: { policies: [{ match: { groups: ['f'] }, cli: restricted }] } }, [
      row({ match: { groups: ['r'] }, cli: restricted }, { owned: 'mine' }),
    ]);
    expect(policy.warnings).toEqual([
      expect.stringMatching(/^ManagedSettings claude\/mine: availableModels/),
      expect.stringMatching(/^managed\.policies\[0\]: availableModels/),
    ]);
  });

  it('stay when others do not compile, and the revision with them', () => {
    const { policy, lines, swap, swaps, set } = live({}, [row({ cli: { model: 'good' } })]);
    const broken = { row: row({}), policy: null } as unknown as ServedRows['rows'][number];
    swap({ revision: 2n, rows: [broken] });
    expect(modelOf(policy, [])).toBe('good');
    expect(policy.revision).toBe(1n);
    expect(swaps).toEqual([]);
    expect(lines).toContainEqual(expect.objectContaining({ evt: 'policy.reject', revision: '2' }));
    set([row({ cli: { model: 'better' } })]);
    expect(modelOf(policy, [])).toBe('better');
    expect(policy.revision).toBe(3n);
  });

  it('are followed until it is closed', () => {
    const { policy, set, listeners } = live({});
    expect(policy.hasRows).toBe(false);
    set([row({ cli: { model: 'one' } })]);
    expect(policy.hasRows).toBe(true);
    policy.close();
    expect(listeners.size).toBe(0);
    set([]);
    expect(modelOf(policy, [])).toBe('one');
  });
});
