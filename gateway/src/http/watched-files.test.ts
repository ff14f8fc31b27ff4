import { afterEach, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { contentsOf, watchFiles } from './watched-files.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'watched-'));
  cleanups.push(() => rmSync(path, { recursive: true }));
  return path;
}

function watching(paths: string[], pollMs?: number, read = contentsOf(paths)): { changes: () => number } {
  let changes = 0;
  const watcher = watchFiles(read, () => changes++, pollMs);
  cleanups.unshift(() => watcher.close());
  return { changes: () => changes };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

it('notices a rewritten file once, and not a touched one', async () => {
  const file = join(directory(), 'a.yaml');
  writeFileSync(file, 'one');
  const { changes } = watching([file]);
  utimesSync(file, new Date(), new Date());
  await sleep(300);
  expect(changes()).toBe(0);
  writeFileSync(file, 'two');
  await until(() => changes() === 1);
  await sleep(300);
  expect(changes()).toBe(1);
});

it('notices the symbolic link swap of a Kubernetes volume, by notice or by poll', async () => {
  const mount = directory();
  for (const version of ['v1', 'v2']) {
    mkdirSync(join(mount, version));
    writeFileSync(join(mount, version, 'gateway.yaml'), version);
  }
  symlinkSync('v1', join(mount, '..data'));
  symlinkSync('..data/gateway.yaml', join(mount, 'gateway.yaml'));
  const { changes } = watching([join(mount, 'gateway.yaml')], 100);
  symlinkSync('v2', join(mount, '..data_tmp'));
  renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
  await until(() => changes() === 1);
});

it('waits while a file is missing', async () => {
  const file = join(directory(), 'a.yaml');
  writeFileSync(file, 'one');
  const { changes } = watching([file], 50);
  rmSync(file);
  await sleep(300);
  expect(changes()).toBe(0);
  writeFileSync(file, 'two');
  await until(() => changes() === 1);
});

it('notices another file while one is missing, and the missing one when it comes', async () => {
  const path = directory();
  const [file, later] = [join(path, 'a.yaml'), join(path, 'later')];
  writeFileSync(file, 'one');
  const { changes } = watching([file, later], 50);
  writeFileSync(file, 'two');
  await until(() => changes() === 1);
  writeFileSync(later, 'here');
  await until(() => changes() === 2);
});

it('notices what changed between the reading and the watching', async () => {
  const file = join(directory(), 'a.yaml');
  writeFileSync(file, 'two');
  const { changes } = watching([file], 60_000, new Map([[file, 'one']]));
  await until(() => changes() === 1);
});
