/**
 * Lays out what a program of this repository needs to run, and nothing else:
 *
 *   node hack/runtime-tree.mjs OUT WORKSPACE…
 *
 * From the installed node_modules it takes the packages that the workspaces reach through `dependencies`, by way of
 * package-lock.json; from each, the files that Node.js loads. (`npm ci --omit=dev --workspace …` brings three times as
 * much: peers such as the Prisma CLI, and what linked workspaces need for their tests.) The result holds a
 * package-lock.json of just these packages, for scanners and bills of materials.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

const [out, ...workspaces] = process.argv.slice(2);
if (out === undefined || workspaces.length === 0) throw new Error('usage: runtime-tree.mjs OUT WORKSPACE…');

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const reached = new Set();
for (const workspace of workspaces) reach(workspace);

/** Adds a package (a path in the lock file) and everything that it depends on. */
function reach(path) {
  if (reached.has(path)) return;
  reached.add(path);
  const entry = lock.packages[path];
  if (entry.link) return reach(entry.resolved);
  for (const name of Object.keys(entry.dependencies ?? {})) {
    // Types are for the compiler, whatever a package says.
    if (name.startsWith('@types/') || name === 'undici-types') continue;
    const found = resolve(path, name);
    if (found === undefined) throw new Error(`${path} depends on ${name}, which is not installed`);
    reach(found);
  }
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    const found = resolve(path, name);
    if (found !== undefined) reach(found);
  }
}

/** Node's way up from a package to a dependency. */
function resolve(path, name) {
  for (
    let at = path;
    ;
    at = at.includes('/node_modules/') ? at.slice(0, at.lastIndexOf('/node_modules/')) : ''
  ) {
    const candidate = join(at, 'node_modules', name);
    if (lock.packages[candidate] !== undefined && existsSync(candidate)) return candidate;
    if (at === '') return undefined;
  }
}

const IDLE_DIRECTORIES = new Set(['test', 'tests', '__tests__', 'testing', 'docs', 'example', 'examples', 'bench', 'benchmark', 'benchmarks', 'coverage', '.github']); // prettier-ignore
const IDLE_FILES =
  /\.(map|ts|mts|cts|tsx|markdown|tsbuildinfo|flow)$|\.test\.js$|^(?!licen[cs]e|notice).*\.md$/i;

/** Prisma brings a query compiler for every database, in two sizes and two module formats; we load one. */
const OTHER_COMPILERS =
  /^(query_compiler_(?!fast_bg\.postgresql\.(wasm-base64\.)?mjs$)|wasm-compiler-edge|index-browser)/;

function isNeeded(source) {
  const name = basename(source);
  if (statSync(source).isDirectory()) {
    // Packages within packages are reached by themselves.
    return name !== 'node_modules' && !IDLE_DIRECTORIES.has(name);
  }
  if (source.includes('node_modules/@prisma/client/runtime/') && OTHER_COMPILERS.test(name)) return false;
  return !IDLE_FILES.test(name);
}

const paths = [...reached].sort();
for (const path of paths) {
  const entry = lock.packages[path];
  const target = join(out, path);
  mkdirSync(dirname(target), { recursive: true });
  if (entry.link) {
    symlinkSync(relative(dirname(path), entry.resolved), target);
  } else if (path.startsWith('node_modules/')) {
    cpSync(path, target, { recursive: true, filter: (source) => source === path || isNeeded(source) });
  } else {
    mkdirSync(target, { recursive: true });
    cpSync(join(path, 'package.json'), join(target, 'package.json'));
    for (const part of ['dist', 'migrations']) {
      if (existsSync(join(path, part))) {
        cpSync(join(path, part), join(target, part), { recursive: true, filter: isNeeded });
      }
    }
  }
}
cpSync('package.json', join(out, 'package.json'));
cpSync('LICENSE', join(out, 'LICENSE'));
const packages = Object.fromEntries([
  ['', lock.packages['']],
  ...paths.map((path) => [path, lock.packages[path]]),
]);
writeFileSync(join(out, 'package-lock.json'), `${JSON.stringify({ ...lock, packages }, null, 2)}\n`);
