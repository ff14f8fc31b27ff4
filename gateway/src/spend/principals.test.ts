import { describe, expect, it } from '@jest/globals';
import type { PrincipalSighting } from '@claude-gateway/prisma';
import { Writable } from 'node:stream';
import { createLog } from '../observe/log.ts';
import { useStores } from '../testing/stores.ts';
import { PrincipalLog } from './principals.ts';

const log = createLog('silent', new Writable({ write: (_chunk, _encoding, done) => done() }));
const postgres = useStores();
const ada = { sub: 'ada', kind: 'user', email: 'ada@example.com', name: 'Ada', groups: ['eng'] } as const;

function setUp(touch?: (sightings: readonly PrincipalSighting[]) => Promise<void>) {
  let now = Date.parse('2027-03-01T12:00:00Z');
  const written: string[][] = [];
  const usage = {
    touch: async (sightings: readonly PrincipalSighting[]) => {
      await (touch ?? ((batch) => postgres.store.usage.touch(batch)))(sightings);
      written.push(sightings.map(({ sub, groups }) => `${sub}:${groups.join()}`));
    },
  };
  const principals = new PrincipalLog({ usage, clock: () => new Date(now), log }, { flushMs: 1 });
  return {
    principals,
    written,
    pass: (ms: number) => (now += ms),
    /** Until what was seen is written, or failed. */
    settle: () => new Promise((resolve) => setTimeout(resolve, 100)),
  };
}

describe('PrincipalLog', () => {
  it('writes who is new, who changed, and everybody again after ten minutes', async () => {
    const { principals, written, pass, settle } = setUp();
    principals.seen(ada);
    principals.seen({ ...ada, sub: 'bob' });
    await settle();
    principals.seen({ ...ada, groups: ['eng'] });
    await settle();
    expect(written).toEqual([['ada:eng', 'bob:eng']]);
    principals.seen({ ...ada, groups: ['eng', 'ops'] });
    await settle();
    pass(599_999);
    principals.seen({ ...ada, groups: ['eng', 'ops'] });
    await settle();
    expect(written.slice(1)).toEqual([['ada:eng,ops']]);
    pass(1);
    principals.seen({ ...ada, groups: ['eng', 'ops'] });
    await principals.close();
    expect(written.slice(2)).toEqual([['ada:eng,ops']]);

    const [known] = await postgres.store.effective.of(['ada'], {});
    expect(known?.principal).toEqual({
      sub: 'ada',
      email: 'ada@example.com',
      name: 'Ada',
      groups: ['eng', 'ops'],
    });
  });

  it('takes a store that is away in its stride, and writes at the next request', async () => {
    let isAway = true;
    const { principals, written, settle } = setUp(() =>
      isAway ? Promise.reject(new Error('away')) : Promise.resolve(),
    );
    principals.seen(ada);
    await settle();
    expect(written).toEqual([]);
    isAway = false;
    principals.seen(ada);
    await principals.close();
    expect(written).toEqual([['ada:eng']]);
    principals.seen({ ...ada, sub: 'late' });
    await settle();
    expect(written).toHaveLength(1);
  });

  it('writes many in batches', async () => {
    const { principals, written } = setUp(() => Promise.resolve());
    for (let n = 0; n < 1_200; n++) principals.seen({ ...ada, sub: `u${n}` });
    await principals.close();
    expect(written.map((batch) => batch.length)).toEqual([500, 500, 200]);
  });
});
