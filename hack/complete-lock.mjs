/**
 * Completes package-lock.json with the optional packages of other platforms: `node hack/complete-lock.mjs [--check]`.
 *
 * Native programs come from npm as one optional package for each platform. npm leaves out of the lock file those that
 * the registry it was run against does not offer (a mirror may lag behind), and then refuses the lock file:
 * "Missing: @swc/core-darwin-arm64@ from lock file". An entry with a version, and without a digest, is enough for it
 * to skip the package on other platforms and to fetch it on its own. Run this after every `npm install`.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const FILE = 'package-lock.json';
const OS = { windows: 'win32' };
const PLATFORM =
  /(darwin|linux|win32|windows|freebsd|android|openharmony)-(arm64|arm|x64|ia32|ppc64|s390x|loong64|riscv64)/;

const lock = JSON.parse(readFileSync(FILE, 'utf8'));
const packages = lock.packages;
const added = [];

for (const [path, entry] of Object.entries(packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isLocked(path, name)) continue;
    const [, os, cpu] = PLATFORM.exec(name) ?? [];
    if (os === undefined)
      throw new Error(`${name}, optional for ${path}, is not locked, and names no platform`);
    const version = range.replace(/^[\^~]/, '');
    packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      os: [OS[os] ?? os],
    };
    added.push(`${name}@${version}`);
  }
}

/** Whether Node's way up from the package at `path` finds the dependency. */
function isLocked(path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
    if (!at.includes('/node_modules/')) return packages[`node_modules/${name}`] !== undefined;
  }
}

if (added.length > 0 && process.argv.includes('--check')) {
  console.error(
    `${FILE} lacks packages of other platforms; run: node hack/complete-lock.mjs\n  ${added.join('\n  ')}`,
  );
  process.exitCode = 1;
} else if (added.length > 0) {
  const [root, ...others] = Object.entries(packages);
  others.sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries([root, ...others]);
  writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
  console.error(`added to ${FILE}:\n  ${added.join('\n  ')}`);
}
