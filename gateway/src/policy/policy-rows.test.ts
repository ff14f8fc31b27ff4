import { describe, expect, it } from '@jest/globals';
import { createAudit } from '../observe/audit.ts';
import { createLog } from '../observe/log.ts';
import { createRowReader, type PolicyRow } from './policy-rows.ts';
import { row } from './testing/rows.ts';

const GOOD = { match: { groups: ['eng'] }, cli: { model: 'opus' } };
const BETTER = { match: { groups: ['eng'] }, cli: { model: 'sonnet' } };

function reader() {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const read = createRowReader({ log: createLog('info', stream), audit: createAudit(stream) });
  let revision = 0n;
  return {
    lines,
    read: (policies: readonly PolicyRow[]) => read({ revision: ++revision, policies }),
  };
}

describe('rows of managed policies', () => {
  it('come by priority, name of the resource, and position', () => {
    const { read } = reader();
    const rows = [
      row(GOOD, { owned: 'b', name: 'b/two', position: 1 }),
      row(GOOD, { owned: 'b', name: 'b/one', position: 0 }),
      row(GOOD, { owned: 'z', priority: 5 }),
      row(GOOD, { owned: 'B' }),
      row(GOOD, { owned: 'a', priority: -1 }),
    ];
    for (const policies of [rows, rows.toReversed()]) {
      expect(read(policies).rows.map(({ row: { name } }) => name)).toEqual(['z', 'B', 'b/one', 'b/two', 'a']);
    }
  });

  it('are read as the file would be', () => {
    const { read } = reader();
    const [served] = read([row({ match: { email_domain: '@Corp.Example' }, cli: {} })]).rows;
    expect(served?.policy).toEqual({ match: { email_domain: 'corp.example' }, cli: {} });
    expect(read([row({ cli: {} })]).rows[0]?.policy.match).toEqual({});
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', 'nonsense', /object/],
    ['nothing', null, /object/],
    ['an unknown key', { ...GOOD, sli: {} }, /sli/],
    ['a match on no group', { match: { groups: [] }, cli: {} }, /match\.groups: needs at least one group/],
    ['both spellings', { match: {}, cli: {}, code: {} }, /code/],
    [
      'settings that the file may not have',
      { match: {}, cli: { permissions: { deny: 7 } } },
      /^cli\.permissions\.deny: /,
    ],
    [
      'a desktop block that the file may not have',
      { desktop: { disabledBuiltinTools: 7 } },
      /^desktop\.disabledBuiltinTools: /,
    ],
  ])('are left out when they are %s, and the others stay', (_title, document, reason) => {
    const { read, lines } = reader();
    const { revision, rows } = read([
      row(GOOD, { owned: 'good' }),
      row(document, { owned: 'bad', priority: 9 }),
    ]);
    expect(revision).toBe(1n);
    expect(rows.map(({ row: { name } }) => name)).toEqual(['good']);
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'error',
        policy: 'ManagedSettings claude/bad',
        reason: expect.stringMatching(reason),
        msg: expect.stringContaining('left out'),
      }),
      expect.objectContaining({ evt: 'policy.reject', revision: '1', policy: 'ManagedSettings claude/bad' }),
    ]);
  });

  it('stay at their last good version, which is said once for each bad one', () => {
    const { read, lines } = reader();
    const good = row(GOOD, { owned: 'x', priority: 3 });
    read([good]);
    const bad = row({ match: {}, cli: 7 }, { owned: 'x', priority: 1 });
    for (let time = 0; time < 3; time++) expect(read([bad]).rows).toEqual([{ row: good, policy: GOOD }]);
    expect(lines.filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({ msg: expect.stringContaining('last good version stays') }),
    ]);
    read([row({ match: {}, cli: 8 }, { owned: 'x' })]);
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(2);
    expect(read([row(BETTER, { owned: 'x' })]).rows[0]?.policy).toEqual(BETTER);
    expect(read([bad]).rows[0]?.policy).toEqual(BETTER);
    expect(read([]).rows).toEqual([]);
    // A resource that was deleted in between has no last version.
    expect(read([bad]).rows).toEqual([]);
  });

  it('take over what changes besides the document', () => {
    const { read } = reader();
    read([row(GOOD, { owned: 'x' })]);
    const raised = row(GOOD, { owned: 'x', priority: 7 });
    expect(read([raised]).rows[0]?.row).toBe(raised);
    const rehashed = row(GOOD, { owned: 'x', documentHash: 'another' });
    expect(read([rehashed]).rows[0]?.row.documentHash).toBe('another');
  });
});
