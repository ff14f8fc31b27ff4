import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { chown, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { serverUser } from './postgres-binaries.ts';

/** Whose connection a client gets: for as long as it stays, or for each transaction anew. */
export type PoolMode = 'session' | 'transaction';

export interface PgBouncerOptions {
  /** Of the server behind it; host, port, user and password are taken from it. */
  readonly postgresUrl: string;
  readonly mode: PoolMode;
  /** Further settings, as in `pgbouncer.ini`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A connection pooler of our own, on 127.0.0.1 only. */
export interface RunningPgBouncer {
  readonly port: number;
  /** The same database and user, through the pooler. */
  urlOf(postgresUrl: string): string;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
const COMMON = {
  listen_addr: '127.0.0.1',
  unix_socket_dir: '',
  auth_type: 'scram-sha-256',
  max_client_conn: '500',
  default_pool_size: '40',
  // What one client leaves behind on a connection meets others soon.
  server_round_robin: '1',
  // A server that was away is tried again at once, not after 15 s.
  server_login_retry: '0.5',
};

/** PgBouncer's program: what `PGBOUNCER_BIN` names, on PATH, or Debian's place. */
export function findPgBouncer(): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/opt/homebrew/bin'];
  const named = process.env['PGBOUNCER_BIN'];
  return [...(named ? [named] : []), ...directories.map((path) => join(path, 'pgbouncer'))].find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error with the program's own words when it does not start. */
export async function startPgBouncer({
  postgresUrl,
  mode,
  settings = {},
}: PgBouncerOptions): Promise<RunningPgBouncer> {
  const program = findPgBouncer();
  if (program === undefined) throw new Error('no PgBouncer here: hack/testbed.sh says how to get it');
  // As PostgreSQL, it does not run as root.
  const user = await serverUser();
  const home = await mkdtemp(join(await realpath(tmpdir()), 'claude-gateway-pgbouncer-'));
  const { hostname, port: serverPort, username, password } = new URL(postgresUrl);
  const port = await freePort();
  const ini = { ...COMMON, listen_port: String(port), auth_file: join(home, 'users.txt'), pool_mode: mode };
  const lines = Object.entries({ ...ini, ...settings }).map(([name, value]) => `${name} = ${value}`);
  const files = {
    'users.txt': `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`,
    'pgbouncer.ini': `[databases]\n* = host=${hostname} port=${serverPort}\n[pgbouncer]\n${lines.join('\n')}\n`,
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(home, name), content);
  if (user.uid !== undefined && user.gid !== undefined) {
    for (const path of [home, ...Object.keys(files).map((name) => join(home, name))]) {
      await chown(path, user.uid, user.gid);
    }
  }

  const child = spawn(program, [join(home, 'pgbouncer.ini')], {
    ...user,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4000)));
  const exited = once(child, 'exit').then(
    () => true,
    () => true,
  );
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async (): Promise<void> => {
    process.off('exit', kill);
    // At once, as when its pod is evicted.
    child.kill('SIGTERM');
    await exited;
    await rm(home, { recursive: true, force: true });
  };
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!log.includes('process up')) {
    if ((await Promise.race([exited, sleep(10)])) === true || Date.now() > deadline) {
      await stop();
      throw new Error(`PgBouncer did not start: ${log.trim() || 'it said nothing'}`);
    }
  }
  return {
    port,
    urlOf: (url) => Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href,
    stop,
  };
}
