import { describe, expect, it } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '@claude-gateway/dev';
import pg from 'pg';
import { openStore } from './store.ts';
import type { StoreOptions } from './types.ts';
import { until, usePostgres } from './testing/postgres.ts';

describe('opening a store', () => {
  const postgres = usePostgres(18);
  const options = { maxConnections: 2, revocationTtlSeconds: 60 };
  const failure = async (url: string, more: Partial<StoreOptions> = {}): Promise<string> => {
    const error: unknown = await openStore({ url, ...options, connectTimeoutSeconds: 2, ...more }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(Error);
    return (error as Error).message;
  };
  const with_ = (change: (url: URL) => void): string => {
    const url = new URL(postgres.url);
    change(url);
    return url.href;
  };

  it('names the place and the reason when nobody is there', async () => {
    const events: string[] = [];
    const url = 'postgres://me:hunter2@127.0.0.1:1/db';
    const opening = openStore({
      url,
      ...options,
      connectTimeoutSeconds: 5,
      onEvent: (_, message) => events.push(message),
    });
    await expect(opening).rejects.toThrow(/^cannot use PostgreSQL at 127\.0\.0\.1:1\/db: .*ECONNREFUSED/);
    // It goes on for as long as it was given.
    expect(events.length).toBeGreaterThan(2);
    expect(await failure(url)).not.toContain('hunter2');
  });

  it('waits for a server that is away, and says why with each try', async () => {
    const { port } = postgres.server;
    const tries: Record<string, unknown>[] = [];
    await postgres.server.pause();
    const opening = postgres.open({
      connectTimeoutSeconds: 5,
      startTimeoutSeconds: 60,
      onEvent: (_, message, fields) => void (message.startsWith('cannot use') && tries.push(fields ?? {})),
    });
    await until(() => tries.length > 1);
    await postgres.server.restart();
    await (await opening).ping();
    expect(tries[0]).toMatchObject({
      target: expect.stringContaining(`127.0.0.1:${port}/`),
      reason: expect.stringContaining('ECONNREFUSED'),
      attempt: 1,
      gives_up_in_seconds: expect.any(Number),
    });
  });

  it('waits for a server that is slow: no single try decides', async () => {
    const tries: string[] = [];
    postgres.server.freeze();
    const opening = postgres.open({
      connectTimeoutSeconds: 1,
      startTimeoutSeconds: 60,
      onEvent: (_, message) => void tries.push(message),
    });
    await until(() => tries.length > 1);
    postgres.server.thaw();
    await (await opening).ping();
  });

  it('names a standby, and waits for it to become the primary', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'standby-'));
    const settings = { wal_level: 'replica', hot_standby: 'on' };
    const before = await startPostgres({ dataDir, settings });
    const database = new URL(await before.createDatabase()).pathname;
    await before.stop();
    // It replicates nobody; that it would like to is what makes it one.
    const signal = join(before.dataDir, 'standby.signal');
    const { uid, gid } = statSync(join(before.dataDir, 'PG_VERSION'));
    writeFileSync(signal, '');
    chownSync(signal, uid, gid);
    const standby = await startPostgres({ dataDir, settings });
    try {
      const { host, href } = Object.assign(new URL(standby.url), { pathname: database });
      expect(await failure(href)).toBe(
        `cannot use PostgreSQL at ${host}${database}: this server is a read-only standby (it replicates another one): name the primary in store.postgres_url`,
      );
      const tries: string[] = [];
      const opening = openStore({
        url: href,
        ...options,
        connectTimeoutSeconds: 5,
        startTimeoutSeconds: 60,
        onEvent: (_, message) => void tries.push(message),
      });
      await until(() => tries.length > 0);
      await postgres.sql('SELECT pg_promote()', [], href);
      await (await opening).close();
    } finally {
      await standby.stop();
      await rm(dataDir, { recursive: true, force: true });
      await rm(before.dataDir, { recursive: true, force: true });
    }
  }, 60_000);

  it('says that a server takes no writes', async () => {
    const url = await postgres.server.createDatabase();
    await postgres.sql(
      `alter database ${new URL(url).pathname.slice(1)} set default_transaction_read_only = on`,
    );
    expect(await failure(url)).toMatch(/takes no writes \(default_transaction_read_only is on\)/);
  });

  it('takes over a password that changes, for new connections', async () => {
    await postgres.sql(`create role rotated login superuser password 'old'`);
    const as = (password: string) => ({ url: postgres.url, username: 'rotated', password });
    const store = await postgres.open(as('old'));
    const endConnections = () =>
      postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rotated'`);
    await postgres.sql(`alter role rotated password 'new'`);
    // Connections that are open stay so.
    await store.ping();
    await endConnections();
    await until(() =>
      store.ping().then(
        () => false,
        (error: Error) => error.message.includes('password authentication failed'),
      ),
    );
    expect(store.renewCredentials({ ...as('new'), url: with_((url) => (url.pathname = '/other')) })).toBe(
      false,
    );
    await expect(store.ping()).rejects.toThrow(/password authentication failed/);
    expect(store.renewCredentials(as('new'))).toBe(true);
    await store.ping();
    // The one that listens, and those of the ledger, come back by themselves.
    const channels = `select count(*)::int from pg_stat_activity where usename = 'rotated' and query like 'LISTEN %'`;
    await until(async () => (await postgres.sql(channels))[0]?.[0] === 1);
    await store.ledger.windows([randomUUID()]);
  });

  it('does not try a wrong password or an unknown database again', async () => {
    const { host, pathname } = new URL(postgres.url);
    const tries: string[] = [];
    const onEvent: StoreOptions['onEvent'] = (_, message) => tries.push(message);
    expect(await failure(postgres.url, { password: 'hunter2', onEvent })).toMatch(
      `cannot use PostgreSQL at ${host}${pathname}: password authentication failed for user "postgres" (28P01)`,
    );
    expect(
      await failure(
        with_((url) => (url.pathname = '/nowhere')),
        { onEvent },
      ),
    ).toMatch(/database "nowhere" does not exist/);
    expect(tries).toEqual([]);
  });

  it('gives up on a silent server in time', async () => {
    const server = createServer();
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const { port } = server.address() as { port: number };
    expect(await failure(`postgres://me@127.0.0.1:${port}/db`)).toMatch(/timeout/);
    server.close();
  });

  it('does not repeat what may be a password in a URL it cannot read', async () => {
    for (const url of [
      'postgres//me:hunter2@x/db',
      'mysql://me:hunter2@x/db',
      'postgres://me:hunter2@[x/db',
    ]) {
      expect(await failure(url)).toBe('store.postgres_url: expected postgres://user@host:5432/database');
    }
  });

  it('prefers the credentials given beside the URL, whatever characters they have', async () => {
    const password = `a b@c:d/e?f#g%20&h='"`;
    await postgres.sql(`create role odd login superuser password ${pg.escapeLiteral(password)}`);
    const store = await postgres.open({
      url: with_((url) => (url.password = 'wrong')),
      username: 'odd',
      password,
    });
    await store.ping();
  });

  it('asks for TLS as the URL says', async () => {
    expect(await failure(with_((url) => url.searchParams.set('sslmode', 'require')))).toMatch(
      /does not support SSL/,
    );
    const store = await postgres.open({ url: with_((url) => url.searchParams.set('sslmode', 'disable')) });
    await store.ping();
  });

  const openssl = spawnSync('openssl', ['version']).status === 0;
  if (!openssl) process.stderr.write('no openssl here: TLS to PostgreSQL is not tested\n');
  (openssl ? it : it.skip)('verifies the server as far as sslmode says', async () => {
    const { dataDir } = postgres.server;
    const [key, certificate] = [join(dataDir, 'server.key'), join(dataDir, 'server.crt')];
    const subject = ['-subj', '/CN=postgres', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const output = ['-keyout', key, '-out', certificate];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...output],
      { stdio: 'ignore' },
    );
    const owner = statSync(dataDir);
    for (const file of [key, certificate]) {
      chownSync(file, owner.uid, owner.gid);
      chmodSync(file, 0o600);
    }
    await postgres.sql('alter system set ssl = on', [], postgres.server.url);
    await postgres.server.restart();

    const url = (parameters: Record<string, string>, host = '127.0.0.1'): string =>
      with_((where) => {
        where.hostname = host;
        where.search = new URLSearchParams(parameters).toString();
      });
    const root = { sslrootcert: certificate };
    for (const works of [
      url({ sslmode: 'require' }),
      url({ sslmode: 'no-verify' }),
      url({ sslmode: 'verify-full', ...root }),
      url({ sslmode: 'verify-ca', ...root }, 'localhost'),
    ]) {
      await postgres.open({ url: works });
    }
    expect(await failure(url({ sslmode: 'verify-full' }))).toMatch(/self-signed certificate/);
    expect(await failure(url({ sslmode: 'verify-full', ...root }, 'localhost'))).toMatch(
      /localhost.*altnames/i,
    );
    const connections = await postgres.sql(
      `select count(*) filter (where ssl)::int, count(*) filter (where not ssl)::int
         from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'claude-gateway'`,
    );
    expect(connections).toEqual([[expect.any(Number), 0]]);
    expect(connections[0]?.[0]).toBeGreaterThan(4);
  });

  it.each(['sslrootcert', 'sslcert', 'sslkey'])(
    'reads no device, pipe or endless file as %s',
    async (name) => {
      for (const path of ['/dev/zero', '/dev/stdin', '/proc/self/pagemap', '/', '/nowhere', '\0']) {
        const url = with_((where) => (where.search = new URLSearchParams({ [name]: path }).toString()));
        expect(await failure(url)).toBe(
          `store.postgres_url: ${name} must name a file with a certificate or key (PEM, at most 1 MiB) where this process runs`,
        );
      }
      const twice = new URLSearchParams([
        [name, process.execPath],
        [name, '/dev/zero'],
      ]);
      expect(await failure(with_((url) => (url.search = twice.toString())))).toMatch(name);
    },
  );

  it('says at once what is no certificate, and what does not go together', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pem-'));
    const pem = join(directory, 'broken.pem');
    writeFileSync(pem, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const text = join(directory, 'text');
    writeFileSync(text, 'hello');
    const withQuery = (query: Record<string, string>): string =>
      with_((url) => (url.search = new URLSearchParams(query).toString()));
    expect(await failure(withQuery({ sslrootcert: text }))).toMatch(/^store\.postgres_url: sslrootcert must/);
    expect(await failure(withQuery({ sslrootcert: pem }))).toMatch(/must be certificates and the key/);
    expect(await failure(withQuery({ sslcert: pem, sslkey: pem }))).toMatch(
      /must be certificates and the key/,
    );
    expect(await failure(withQuery({ sslmode: 'verify-ca' }))).toMatch(
      /^store\.postgres_url: cannot be used: .*sslrootcert/,
    );
    expect(await failure(withQuery({ sslnegotiation: 'sideways' }))).toMatch(
      /cannot be used: .*sslnegotiation/,
    );
    rmSync(directory, { recursive: true });
  });

  it('does not hang on a network that swallows everything', async () => {
    const sockets: Socket[] = [];
    const upstream = new URL(postgres.server.url);
    let silent = false;
    const proxy = createServer((client) => {
      const server = new pg.Connection().stream as unknown as Socket;
      server.connect(Number(upstream.port), upstream.hostname);
      sockets.push(client, server);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        from
          .on('data', (chunk) => silent || to.write(chunk))
          .on('error', () => undefined)
          .on('close', () => to.destroy());
      }
    });
    await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', ready));
    try {
      const url = new URL(postgres.url);
      url.port = String((proxy.address() as { port: number }).port);
      const store = await postgres.open({ url: url.href, maxConnections: 2 });
      await store.ping();
      silent = true;
      const calls = [
        store.ping(),
        store.sessions.list({ limit: 1 }),
        store.deviceGrants.poll(Buffer.alloc(32), new Date()),
      ];
      for (const call of await Promise.allSettled(calls)) {
        expect(call).toMatchObject({ status: 'rejected', reason: { name: 'StoreUnavailableError' } });
      }
    } finally {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    }
  });

  it('shows itself to the database by name', async () => {
    const url = await postgres.server.createDatabase();
    await postgres.open({ url });
    const rows = await postgres.sql(
      'select distinct application_name from pg_stat_activity where datname = $1',
      [new URL(url).pathname.slice(1)],
    );
    expect(rows).toEqual([['claude-gateway']]);
  });
});
