import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const MAIN = resolve(import.meta.dirname, '../../../hack/runtime-main.mjs');

/** The programs of the image, which here never finish loading. */
const LOADING = `process.stdout.write('loading\\n'); await new Promise((done) => setTimeout(done, 600_000));`;

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'image-'));
  cpSync(MAIN, join(root, 'main.mjs'));
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  for (const program of ['gateway', 'operator']) {
    mkdirSync(join(root, program, 'dist'), { recursive: true });
    writeFileSync(join(root, program, 'dist', 'main.js'), LOADING);
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it.each([
  ['gateway', [], 'SIGTERM', 143],
  ['operator', ['operator'], 'SIGTERM', 143],
  ['gateway', [], 'SIGINT', 130],
] as const)('%s %j: ends at %s while it is loaded', async (_name, args, signal, code) => {
  const child = spawn(process.execPath, [join(root, 'main.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  child.kill(signal);
  // Process 1 of a container would ignore what only the kernel's default handles: then the code is null.
  expect(await exited).toEqual([code, null]);
});
