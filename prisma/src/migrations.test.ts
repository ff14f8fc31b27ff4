import { describe, expect, it } from '@jest/globals';
import { migrate, readMigrations, type Migration } from './migrations.ts';
import { schemaDiff } from './testing/schema-diff.ts';
import { hash, newGrant, NOW, POSTGRES_VERSIONS, usePostgres } from './testing/postgres.ts';

const HISTORY =
  'select migration_name, finished_at is not null from claude_gateway._prisma_migrations order by started_at';

describe.each(POSTGRES_VERSIONS)('migrations on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);
  const options = async (migrations?: readonly Migration[]) => ({
    url: await postgres.server.createDatabase(),
    connectTimeoutSeconds: 10,
    ...(migrations && { migrations }),
  });
  /** As another role of the same database. */
  const roleUrl = (url: string, role: string) =>
    Object.assign(new URL(url), { username: role, password: role }).href;

  // Prisma's own way to compare knows nothing of what we bring to servers that lack it.
  (version < 13 ? it.skip : it)('make exactly what schema.prisma says', async () => {
    expect(await schemaDiff(await postgres.server.createDatabase())).toBe('');
  });

  it('run once when replicas boot at the same time', async () => {
    const where = await options();
    const names = (await readMigrations()).map(({ name }) => name);
    const results = await Promise.all(Array.from({ length: 4 }, () => migrate(where)));
    expect(results.map(({ applied }) => applied).filter((applied) => applied.length > 0)).toEqual([names]);
    expect(await postgres.sql(HISTORY, [], where.url)).toEqual(names.map((name) => [name, true]));
    const [a, b] = await Promise.all([postgres.open({ url: where.url }), postgres.open({ url: where.url })]);
    await Promise.all([a.ping(), b.ping()]);
  });

  it('keep to a schema of their own', async () => {
    const where = await options();
    await postgres.sql('create table sessions (mine int)', [], where.url);
    await migrate(where);
    const others = await postgres.sql(
      `select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema', 'claude_gateway')`,
      [],
      where.url,
    );
    expect(others).toEqual([['public', 'sessions']]);
    const { deviceGrants } = await postgres.open({ url: where.url });
    await deviceGrants.create(newGrant());
    expect(await deviceGrants.findByUserCode(hash(), NOW)).toBeNull();
  });

  it('need no right to change the schema when it is current', async () => {
    const where = await options();
    const role = `plain${version}`;
    await postgres.sql(`create role ${role} login password '${role}'`);
    const url = roleUrl(where.url, role);
    await expect(migrate({ ...where, url })).rejects.toThrow(/CREATE SCHEMA claude_gateway AUTHORIZATION/);
    await migrate(where);
    await expect(migrate({ ...where, url })).rejects.toThrow(
      /permission denied.*grant the role USAGE on schema claude_gateway/,
    );
    for (const grant of [
      `grant usage on schema claude_gateway to ${role}`,
      `grant select, insert, update, delete on all tables in schema claude_gateway to ${role}`,
    ]) {
      await postgres.sql(grant, [], where.url);
    }
    expect(await migrate({ ...where, url })).toEqual({ applied: [] });
    const store = await postgres.open({ url });
    await store.deviceGrants.create(newGrant());
    expect(await store.sessions.revokeByUser({ sub: 'nobody' }, 'test', NOW)).toEqual([]);
  });

  it('work in a schema that the owner of the database made for the role', async () => {
    const where = await options();
    const role = `owner${version}`;
    await postgres.sql(`create role ${role} login password '${role}'`);
    await postgres.sql(`create schema claude_gateway authorization ${role}`, [], where.url);
    const { applied } = await migrate({ ...where, url: roleUrl(where.url, role) });
    expect(applied).not.toEqual([]);
  });

  it('say what failed, leave nothing of it behind, and are tried again', async () => {
    const first = {
      name: '20270101000000_first',
      sql: `create table a (n int); create function f() returns text language sql as $$ select 'x;y' $$;`,
    };
    const broken = {
      name: '20270102000000_broken',
      sql: 'create table b (n int); insert into a values (1 / 0);',
    };
    const where = await options([first, broken]);
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(migrate(where)).rejects.toThrow(
        'migration 20270102000000_broken failed: division by zero',
      );
      expect(await postgres.sql(`select to_regclass('claude_gateway.b')`, [], where.url)).toEqual([[null]]);
    }
    expect(await postgres.sql('select claude_gateway.f()', [], where.url)).toEqual([['x;y']]);
    const mended = { ...broken, sql: 'create table b (n int);' };
    expect(await migrate({ ...where, migrations: [first, mended] })).toEqual({ applied: [broken.name] });
    expect(await migrate({ ...where, migrations: [first, mended] })).toEqual({ applied: [] });
  });

  it('go on after a replica died between doing and noting it', async () => {
    const first = { name: '20270101000000_first', sql: 'create table a (n int);' };
    const second = { name: '20270102000000_second', sql: 'create table b (n int);' };
    const where = await options([first]);
    await migrate(where);
    await postgres.sql('update claude_gateway._prisma_migrations set finished_at = null', [], where.url);
    expect(await migrate({ ...where, migrations: [first, second] })).toEqual({ applied: [second.name] });
    await postgres.sql(
      `update claude_gateway._prisma_migrations set finished_at = null, applied_steps_count = 0 where migration_name like '%second'`,
      [],
      where.url,
    );
    await postgres.sql('drop table claude_gateway.b', [], where.url);
    expect(await migrate({ ...where, migrations: [first, second] })).toEqual({ applied: [second.name] });
    expect(await postgres.sql('select * from claude_gateway.b', [], where.url)).toEqual([]);
  });

  it('are content with a database that is ahead of them', async () => {
    const first = { name: '20270101000000_first', sql: 'create table a (n int);' };
    const later = { name: '20270102000000_later', sql: 'create table b (n int);' };
    const where = await options([first, later]);
    await migrate(where);
    expect(await migrate({ ...where, migrations: [first] })).toEqual({ applied: [] });
  });
});
