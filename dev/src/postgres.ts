import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, lstat, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from './free-port.ts';
import {
  canReach,
  EMBEDDED_VERSION,
  preparePostgres,
  serverUser,
  type ServerUser,
} from './postgres-binaries.ts';

export interface PostgresOptions {
  /** Major version; 18 comes with the package, others must be installed (see `findPostgres`). */
  readonly version?: number;
  /** Where the cluster lives. Default: a temporary directory, removed on `stop()`. */
  readonly dataDir?: string;
  /** 0 or absent: any free port. */
  readonly port?: number;
  /** Keep the data on `stop()` and write it durably. Default: whether `dataDir` is given. */
  readonly persistent?: boolean;
  /** Further server settings, as in `postgresql.conf`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A PostgreSQL server of our own, on 127.0.0.1 only. It does not outlive this process. */
export interface RunningPostgres {
  /** Superuser's URL of the database `postgres`. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** Creates an empty database with a fresh name, or a copy of `template`. @returns its URL. */
  createDatabase(template?: string): Promise<string>;
  /** Stops in order (connections are closed with 57P01) and removes data that is not persistent. Idempotent. */
  stop(): Promise<void>;
  /** SIGKILL, as if the machine had died: no goodbye to clients, recovery at the next start. */
  kill(): Promise<void>;
  /** Starts again on the same port and data, after `kill()`, `pause()` or while running. */
  restart(): Promise<void>;
  /** Stops in order, but keeps the data for `restart()`. */
  pause(): Promise<void>;
  /** SIGSTOP for every process of the server: connections stay, and nothing is answered. `stop()` and the like end it. */
  freeze(): void;
  /** SIGCONT for all of them. */
  thaw(): void;
}

const USERNAME = 'postgres';
/** Not a secret: the server listens on loopback and holds development data. */
const PASSWORD = 'postgres';
const START_TIMEOUT_MS = 30_000;
const FAST = { fsync: 'off', full_page_writes: 'off', autovacuum_naptime: '1h' };
const COMMON = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  wal_level: 'minimal',
  max_wal_senders: '0',
  jit: 'off',
  lc_messages: 'C',
};

/**
 * Starts a real PostgreSQL for development and tests, creating the cluster when there is none.
 *
 * @throws Error with the server's own words when it does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningPostgres> {
  const { version = EMBEDDED_VERSION, persistent = options.dataDir !== undefined } = options;
  const user = await serverUser(options.dataDir);
  const bin = await preparePostgres(version, user);
  const home = await prepareHome(options.dataDir, user);
  const dataDir = join(home, 'data');
  if (!existsSync(join(dataDir, 'PG_VERSION'))) await initialise(bin, home, dataDir, user, persistent);

  const settings = { ...COMMON, ...(persistent ? {} : FAST), ...options.settings };
  const launch = (port: number): Promise<Server> =>
    Server.start(join(bin, 'postgres'), { dataDir, port, settings, user, home: persistent ? null : home });

  const discard = (): Promise<void> =>
    persistent ? Promise.resolve() : rm(home, { recursive: true, force: true });
  let server = await launchOnFreePort(launch, options.port ?? 0).catch(async (error: unknown) => {
    await discard();
    throw error;
  });
  const { port } = server;
  const urlOf = (database: string): string =>
    `postgres://${USERNAME}:${PASSWORD}@127.0.0.1:${port}/${database}`;
  return {
    url: urlOf('postgres'),
    port,
    dataDir,
    createDatabase: async (template) => {
      const name = `t_${randomUUID().replaceAll('-', '')}`;
      const client = new pg.Client({ connectionString: urlOf('postgres') });
      await client.connect();
      try {
        await client.query(
          `CREATE DATABASE ${name} TEMPLATE ${pg.escapeIdentifier(template ?? 'template1')}`,
        );
      } finally {
        await client.end();
      }
      return urlOf(name);
    },
    stop: async () => {
      await server.end('SIGINT');
      await discard();
    },
    kill: () => server.end('SIGKILL'),
    pause: () => server.end('SIGINT'),
    freeze: () => server.signalAll('SIGSTOP'),
    thaw: () => server.signalAll('SIGCONT'),
    restart: async () => {
      await server.end('SIGINT');
      server = await launch(port);
    },
  };
}

/** The directory that holds the cluster, owned by the server's user and reachable for it. */
async function prepareHome(dataDir: string | undefined, user: ServerUser): Promise<string> {
  let home: string;
  if (dataDir === undefined) {
    home = await mkdtemp(join(await realpath(tmpdir()), 'claude-gateway-postgres-'));
  } else {
    home = resolve(dataDir);
    await mkdir(home, { recursive: true });
    if (!canReach(dirname(home), user)) {
      // Root's checkout below /root (mode 700): keep the data elsewhere, under a name that stays the same.
      const key = createHash('sha256').update(home).digest('hex').slice(0, 16);
      home = join(await realpath(tmpdir()), `claude-gateway-${key}`);
      await mkdir(home, { mode: 0o700 }).catch(() => undefined);
      const { uid } = await lstat(home);
      if (uid !== 0 && uid !== user.uid) throw new Error(`${home} belongs to somebody else (uid ${uid})`);
    }
  }
  if (user.uid !== undefined && user.gid !== undefined) await chown(home, user.uid, user.gid);
  if (canReach(home, user)) return home;
  throw new Error(
    `the user of PostgreSQL (uid ${user.uid}) cannot reach ${home}: set TMPDIR to a directory open to it`,
  );
}

async function initialise(
  bin: string,
  home: string,
  dataDir: string,
  user: ServerUser,
  durable: boolean,
): Promise<void> {
  const passwordFile = join(home, 'password');
  await writeFile(passwordFile, PASSWORD);
  if (user.uid !== undefined && user.gid !== undefined) await chown(passwordFile, user.uid, user.gid);
  const args = [
    `--pgdata=${dataDir}`,
    `--username=${USERNAME}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
  ];
  args.push('--encoding=UTF8', '--locale=C', ...(durable ? [] : ['--no-sync']));
  const child = spawn(join(bin, 'initdb'), args, { ...user, cwd: '/', env: serverEnvironment() });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((settle, fail) =>
    child.once('close', settle).once('error', fail),
  );
  await rm(passwordFile, { force: true });
  if (code === 0) return;
  await rm(dataDir, { recursive: true, force: true });
  throw new Error(`initdb failed (exit code ${code}): ${output.trim()}`);
}

/** The caller's environment without what libpq and the server would read from it. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name)));
}

async function launchOnFreePort(launch: (port: number) => Promise<Server>, wanted: number): Promise<Server> {
  if (wanted !== 0) return launch(wanted);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(await freePort());
    } catch (error) {
      // Between our look and the server's start somebody else may have taken the port.
      if (attempt === 5 || !(error as Error).message.includes('could not bind')) throw error;
    }
  }
}

interface ServerStart {
  readonly dataDir: string;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly user: ServerUser;
  /** To be removed should this process die. */
  readonly home: string | null;
}

/** One life of the server process, and of the watchdog that ends it should this process die first. */
class Server {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #watchdog: ChildProcess;
  readonly #exited: Promise<void>;
  #log = '';

  /** Also waits for what a killed predecessor left behind to go away. */
  static async start(postgres: string, options: ServerStart): Promise<Server> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const server = new Server(postgres, options);
      if (await server.#ready(deadline)) return server;
      await server.end('SIGKILL');
      const orphaned = /pre-existing shared memory block|lock file "postmaster.pid" already exists/.test(
        server.#log,
      );
      if (!orphaned || Date.now() > deadline - START_TIMEOUT_MS / 2) {
        throw new Error(
          `PostgreSQL did not start on port ${options.port}: ${server.#log.trim() || 'it said nothing'}`,
        );
      }
      await sleep(50);
    }
  }

  constructor(postgres: string, { dataDir, port, settings, user, home }: ServerStart) {
    this.port = port;
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    this.#process = spawn(postgres, ['-D', dataDir, '-p', String(port), ...args], {
      ...user,
      cwd: '/',
      env: serverEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe'],
      // A Ctrl-C on the terminal is for us: we stop the server when we are done with it.
      detached: true,
    });
    this.#exited = new Promise((done) =>
      this.#process.once('exit', () => done()).once('error', () => done()),
    );
    this.#process.stderr?.on(
      'data',
      (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-4000)),
    );
    this.#watchdog = watch(this.#process.pid ?? 0, dataDir, home);
    this.#process.unref();
    (this.#process.stderr as unknown as { unref(): void }).unref();
  }

  async #ready(deadline: number): Promise<boolean> {
    let running = true;
    void this.#exited.then(() => (running = false));
    while (running && Date.now() < deadline) {
      // A standby says that they are read-only.
      if (/database system is ready to accept (read.only )?connections/.test(this.#log)) return true;
      await sleep(10);
    }
    return false;
  }

  /** Each connection has a process of its own, in a session of its own. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const { pid } = this.#process;
    if (pid === undefined) return;
    const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
    const children = stdout
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []));
    for (const each of [pid, ...children]) {
      try {
        process.kill(each, signal);
      } catch {
        // Its connection has just ended.
      }
    }
  }

  /** Ends the process and waits for it. SIGINT is PostgreSQL's fast shutdown. */
  async end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    this.signalAll('SIGCONT');
    this.#process.kill(signal);
    const late = setTimeout(() => this.#process.kill('SIGQUIT'), 10_000);
    await this.#exited;
    clearTimeout(late);
    this.#watchdog.kill('SIGKILL');
  }
}

/**
 * A shell that waits for our end of a pipe to close, which the kernel sees to however we die, and then ends the
 * server and removes its data.
 */
function watch(pid: number, dataDir: string, home: string | null): ChildProcess {
  // The server removes its pid file last. (Its pid may linger as a zombie where process 1 does not reap.)
  const script = `
    read -r _
    kill -INT "$1"
    tries=100
    while [ $tries -gt 0 ] && [ -e "$2/postmaster.pid" ]; do tries=$((tries - 1)); sleep 0.1; done
    [ -z "$3" ] || { kill -QUIT "$1" 2>/dev/null; rm -rf "$3"; }`;
  const child = spawn('/bin/sh', ['-c', script, 'sh', String(pid), dataDir, home ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}
