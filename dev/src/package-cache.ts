import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where fetched programs are kept: outside the checkout, so that the next clone finds them. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  if (env['CLAUDE_GATEWAY_CACHE']) return env['CLAUDE_GATEWAY_CACHE'];
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'claude-gateway');
}

/** One package of the npm registry, pinned to its content. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** As `npm view NAME@VERSION dist.integrity` says; npm refuses anything else. */
  readonly integrity: string;
}

/**
 * The directory of the package in the cache; fetches it when it is not there yet. No script of the package is run.
 *
 * @throws Error with npm's own words when it cannot be fetched.
 */
export function fetchPackage({ name, version, integrity }: NpmPackage): string {
  const cache = cacheDirectory();
  const home = join(cache, `${name.replaceAll(/[@/]/g, (c) => (c === '/' ? '-' : ''))}-${version}`);
  const directory = join(home, 'node_modules', name);
  if (existsSync(join(directory, 'package.json'))) return directory;

  mkdirSync(cache, { recursive: true });
  const staging = mkdtempSync(join(cache, 'package.'));
  try {
    const dependencies = { [name]: version };
    writeFileSync(join(staging, 'package.json'), JSON.stringify({ private: true, dependencies }));
    writeFileSync(
      join(staging, 'package-lock.json'),
      JSON.stringify({
        lockfileVersion: 3,
        requires: true,
        packages: { '': { dependencies }, [`node_modules/${name}`]: { version, integrity } },
      }),
    );
    const { status, stderr } = spawnSync(
      'npm',
      ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      { cwd: staging, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
    );
    if (status !== 0) throw new Error(`could not fetch ${name}@${version} with npm: ${stderr?.trim()}`);
    // Another process may have been faster; then its copy is as good.
    if (!existsSync(directory)) {
      try {
        rmSync(home, { recursive: true, force: true });
        renameSync(staging, home);
      } catch (error) {
        if (!existsSync(directory)) throw error;
      }
    }
    return directory;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
