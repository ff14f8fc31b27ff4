import { describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { findPostgres } from './postgres-binaries.ts';
import { startPostgres } from './postgres.ts';

async function query(url: string, sql: string): Promise<unknown[][]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const versions = [11, 15, 18].filter((version) => {
  if (findPostgres(version) !== null) return true;
  console.warn(
    `no PostgreSQL ${version} here: let POSTGRES_${version}_BIN name its directory to test it too`,
  );
  return false;
});

describe.each(versions)('startPostgres %i', (version) => {
  it('starts the version asked for, on loopback only, and leaves nothing behind', async () => {
    const server = await startPostgres({ version });
    const [row] = await query(
      server.url,
      `select current_setting('server_version_num')::int / 10000, current_setting('listen_addresses')`,
    );
    expect(row).toEqual([version, '127.0.0.1']);
    await server.stop();
    expect(existsSync(server.dataDir)).toBe(false);
    await expect(query(server.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
    await server.stop();
  });

  it('keeps committed rows over a crash and a pause, on the same port', async () => {
    const server = await startPostgres({ version });
    const url = await server.createDatabase();
    await query(url, 'create table t as select 7 as n');
    await server.kill();
    await expect(query(url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
    await server.restart();
    expect(await query(url, 'select n from t')).toEqual([[7]]);
    await server.pause();
    await server.restart();
    expect(await query(url, 'select n from t')).toEqual([[7]]);
    await server.stop();
  });
});

describe('startPostgres', () => {
  it('gives every caller a database of its own, empty or copied', async () => {
    const server = await startPostgres();
    const [a, b] = await Promise.all([server.createDatabase(), server.createDatabase()]);
    await query(a, 'create table t as select 1 as n');
    await expect(query(b, 'select * from t')).rejects.toThrow(/does not exist/);
    const copy = await server.createDatabase(new URL(a).pathname.slice(1));
    expect(await query(copy, 'select * from t')).toEqual([[1]]);
    await server.stop();
  });

  it('keeps a persistent cluster', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'kept-'));
    const first = await startPostgres({ dataDir });
    await query(first.url, 'create table t as select 1 as n');
    await first.stop();
    const second = await startPostgres({ dataDir, port: first.port });
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'select * from t')).toEqual([[1]]);
    await second.stop();
    await rm(dataDir, { recursive: true });
  });

  it('says why it does not start', async () => {
    await expect(startPostgres({ settings: { no_such_setting: '1' } })).rejects.toThrow(/no_such_setting/);
    await expect(startPostgres({ version: 9 })).rejects.toThrow(/POSTGRES_9_BIN/);
  });

  it('does not outlive a process that is killed', async () => {
    const program = `
      import { startPostgres } from ${JSON.stringify(import.meta.resolve('./postgres.ts'))};
      import { readFileSync } from 'node:fs';
      const { dataDir } = await startPostgres();
      console.log(JSON.stringify({ dataDir, pid: parseInt(readFileSync(dataDir + '/postmaster.pid', 'utf8')) }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const line = await Promise.race([
      once(createInterface(child.stdout), 'line').then(([text]) => text as string),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`exited with ${String(code)}`))),
    ]);
    const { dataDir, pid } = JSON.parse(line) as { dataDir: string; pid: number };
    expect(isAlive(pid)).toBe(true);
    child.kill('SIGKILL');
    for (let i = 0; i < 100 && (isAlive(pid) || existsSync(dataDir)); i++) await sleep(100);
    expect([isAlive(pid), existsSync(dataDir)]).toEqual([false, false]);
  });
});
