import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { type Identity } from '@claude-gateway/prisma';
import { listSessions, revokeSessions } from './revoke-command.ts';
import { useStores } from '../../testing/stores.ts';

const now = new Date('2026-03-01T09:15:30Z');

const database = useStores();
let output: string;
const write = (text: string): void => {
  output += text;
};

beforeEach(() => {
  output = '';
});

async function session(identity: Partial<Identity>): Promise<string> {
  const id = randomUUID();
  await database.store.sessions.create({
    id,
    identity: { sub: 'x', provider: 'corp', email: null, name: null, groups: [], ...identity },
    refreshTokenHash: null,
    idpRefreshTokenSealed: null,
    now,
  });
  return id;
}

describe('revokeSessions', () => {
  it('ends every session of a person, whatever the case of the address, and says which', async () => {
    const ids = [
      await session({ sub: 'erin', email: 'Erin@corp.example' }),
      await session({ sub: 'erin', email: 'erin@corp.example' }),
    ];
    const other = await session({ sub: 'frank', email: 'frank@corp.example' });
    expect(await revokeSessions(database.store, { user: 'erin@CORP.example' }, write)).toBe(0);
    expect(output).toContain('Revoked 2 sessions of erin@CORP.example.');
    for (const id of ids) {
      expect(output).toContain(id);
      expect(database.store.revocations.isRevoked(id)).toBe(true);
    }
    expect(database.store.revocations.isRevoked(other)).toBe(false);
  });

  it('ends sessions by sub, and one session by its id', async () => {
    const workload = await session({ sub: 'workload:github:ci:acme/web' });
    expect(await revokeSessions(database.store, { sub: 'workload:github:ci:acme/web' }, write)).toBe(0);
    expect(database.store.revocations.isRevoked(workload)).toBe(true);
    const single = await session({ sub: 'grace' });
    expect(await revokeSessions(database.store, { session: single.toUpperCase() }, write)).toBe(0);
    expect(output).toContain('Revoked 1 session of id');
    expect(database.store.revocations.isRevoked(single)).toBe(true);
  });

  it('fails when there is nothing to end, so that a typing error is noticed', async () => {
    expect(await revokeSessions(database.store, { user: 'nobody@corp.example' }, write)).toBe(1);
    expect(output).toContain('No live session of nobody@corp.example');
    await expect(revokeSessions(database.store, { session: 'not-an-id' }, write)).rejects.toThrow(
      '--session',
    );
  });
});

describe('listSessions', () => {
  it('prints a table, revoked ones included, and nothing that steers a terminal', async () => {
    const live = await session({ sub: 'heidi\u001b[2J', email: 'heidi@corp.example' });
    const gone = await session({ sub: 'heidi', email: 'heidi@corp.example' });
    await database.store.sessions.revoke(gone, 'admin', now);
    expect(await listSessions(database.store, { user: 'heidi@corp.example' }, write)).toBe(0);
    const lines = output.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^SESSION +USER +SUB +SIGNED IN +REFRESHED +STATE$/);
    expect(lines).toHaveLength(3);
    expect(lines.find((line) => line.startsWith(live))).toMatch(
      /heidi@corp\.example +heidi\?\[2J +2026-03-01 09:15Z .*live$/,
    );
    expect(lines.find((line) => line.startsWith(gone))).toMatch(/revoked 2026-03-01 09:15Z$/);
    const columns = new Set(lines.map((line) => line.search(/heidi@|USER/)));
    expect(columns.size).toBe(1);
  });

  it('finds a workload by its sub, and says when there is nobody', async () => {
    await session({ sub: 'workload:k8s:builds' });
    await listSessions(database.store, { user: 'workload:k8s:builds' }, write);
    expect(output).toContain('workload:k8s:builds');
    output = '';
    expect(await listSessions(database.store, { user: 'nobody@corp.example' }, write)).toBe(0);
    expect(output).toBe('No sessions of nobody@corp.example.\n');
  });
});
