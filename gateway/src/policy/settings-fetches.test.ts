import { afterEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../observe/log.ts';
import type { Principal } from '../principal.ts';
import { SettingsFetchLog, type SettingsFetch } from './settings-fetches.ts';
import type { PolicyOrigin } from './source.ts';
import { person } from './testing/fixtures.ts';

const origin = (ownerUid: string, documentHash: string): PolicyOrigin => ({
  label: `ManagedSettings claude/${ownerUid}`,
  ownerUid,
  documentHash,
});

const opened: SettingsFetchLog[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((log) => log.close()));
});

function start(flushMs = 5) {
  const batches: (readonly SettingsFetch[])[] = [];
  const lines: string[] = [];
  const state = { away: false, now: new Date('2026-11-23T12:00:00Z') };
  const fetches = new SettingsFetchLog(
    {
      store: {
        async record(entries) {
          await sleep(1);
          if (state.away) throw new Error('store unavailable');
          batches.push(entries);
        },
      },
      clock: () => state.now,
      log: createLog('info', { write: (line) => void lines.push(line) }),
    },
    { flushMs },
  );
  opened.push(fetches);
  return { fetches, batches, lines, state, all: () => batches.flat() };
}

const client = (sid: string): Principal => ({ ...person([]), sid });

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition() && performance.now() < deadline) await sleep(2);
  expect(condition()).toBe(true);
}

describe('SettingsFetchLog', () => {
  it('writes who has which policies, many in one go', async () => {
    const { fetches, batches, all } = start();
    fetches.fetched(client('one'), [origin('u1', 'h1'), origin('u2', 'h2'), origin('u1', 'less specific')]);
    fetches.fetched(client('two'), []);
    await until(() => all().length === 2);
    expect(batches).toHaveLength(1);
    expect(all()).toEqual([
      {
        client: 'one',
        principal: 'polly',
        documents: [
          { ownerUid: 'u1', documentHash: 'h1' },
          { ownerUid: 'u2', documentHash: 'h2' },
        ],
        at: new Date('2026-11-23T12:00:00Z'),
      },
      { client: 'two', principal: 'polly', documents: [], at: new Date('2026-11-23T12:00:00Z') },
    ]);
  });

  it('takes a workload, whose every token is another session, for one client', async () => {
    const { fetches, all } = start();
    for (const sid of ['one', 'two']) fetches.fetched({ ...client(sid), kind: 'workload' }, []);
    await until(() => all().length === 1);
    expect(all()[0]?.client).toBe('workload:polly');
  });

  it('writes again what is different, and what has not changed after a quarter of an hour', async () => {
    const { fetches, all, state } = start();
    fetches.fetched(client('one'), [origin('u1', 'h1')]);
    await until(() => all().length === 1);
    state.now = new Date('2026-11-23T12:14:59Z');
    fetches.fetched(client('one'), [origin('u1', 'h1')]);
    fetches.fetched(client('other'), []);
    await until(() => all().length === 2);
    expect(all()[1]?.client).toBe('other');
    fetches.fetched(client('one'), [origin('u1', 'h2')]);
    await until(() => all().length === 3);
    state.now = new Date('2026-11-23T12:30:00Z');
    fetches.fetched(client('one'), [origin('u1', 'h2')]);
    await until(() => all().length === 4);
    expect(all()[3]).toMatchObject({ client: 'one', at: state.now });
  });

  it('writes only the latest of a client', async () => {
    const { fetches, all } = start(30);
    for (const hash of ['h1', 'h2', 'h3']) fetches.fetched(client('one'), [origin('u1', hash)]);
    await until(() => all().length > 0);
    expect(all().map(({ documents }) => documents[0]?.documentHash)).toEqual(['h3']);
  });

  it('keeps what a store that is away did not take, says so once, and keeps a bound', async () => {
    const { fetches, all, lines, state } = start();
    state.away = true;
    fetches.fetched(client('one'), [origin('u1', 'h1')]);
    await until(() => lines.length === 1);
    fetches.fetched(client('one'), [origin('u1', 'h2')]);
    for (let index = 0; index < 25_000; index++) fetches.fetched(client(`c${index}`), []);
    await sleep(50);
    expect(lines).toHaveLength(1);
    state.away = false;
    await until(() => all().length >= 20_000);
    await fetches.close();
    expect(all().length).toBeLessThan(21_000);
    expect(all().filter((fetch) => fetch.client === 'one')).toEqual([
      expect.objectContaining({ documents: [{ ownerUid: 'u1', documentHash: 'h2' }] }),
    ]);
  });

  it('writes what is waiting when it is closed, and takes nothing after', async () => {
    const { fetches, all } = start(1_000_000);
    fetches.fetched(client('one'), []);
    await fetches.close();
    fetches.fetched(client('two'), []);
    await fetches.close();
    expect(all().map((fetch) => fetch.client)).toEqual(['one']);
  });
});
