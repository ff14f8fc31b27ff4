import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'make-targets-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('make help', () => {
  const help = execFileSync('make', ['-s', 'help'], { cwd: ROOT, encoding: 'utf8' });

  it('lists every target that is there to be called', () => {
    const makefile = readFileSync(join(ROOT, 'Makefile'), 'utf8');
    const targets = [...makefile.matchAll(/^\.PHONY: (.+)$/gm)].map(([, name]) => name);
    const listed = [...help.matchAll(/^ {2}make (\S+)/gm)].map(([, name]) => name);
    expect(listed).toEqual(targets);
  });

  it('prints commands as a shell takes them', () => {
    expect(help).toContain('eval "$(make -s sign-in)"');
    expect(help).not.toContain('$$');
  });
});

describe('the end of `make test`', () => {
  it('is the sum, after one line on everything that was skipped', () => {
    const report = join(directory, 'report.json');
    const test = (status: string): object => ({ status, fullName: `a ${status} test` });
    writeFileSync(
      report,
      JSON.stringify({
        numPassedTests: 1,
        numFailedTests: 0,
        numRuntimeErrorTestSuites: 0,
        numPendingTests: 3,
        numTodoTests: 0,
        testResults: [
          { name: join(ROOT, 'a.test.ts'), assertionResults: [test('pending'), test('passed')] },
          { name: join(ROOT, 'b.test.ts'), assertionResults: [test('pending'), test('pending')] },
        ],
      }),
    );
    const printed = execFileSync(process.execPath, ['hack/test-summary.mjs', report], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { PATH: directory },
    });
    const [skipped, sum, ...rest] = printed.trimEnd().split('\n');
    expect(rest).toEqual([]);
    expect(skipped).toMatch(/^skipped: 1 in a\.test\.ts, 2 in b\.test\.ts\. To run them: install .*tmux/);
    expect(sum).toBe('1 passed, 0 failed, 3 skipped');
  });

  it('is the sum after failures, too', () => {
    const script = readFileSync(join(ROOT, 'hack/test.sh'), 'utf8').trimEnd().split('\n');
    expect(script.slice(-2)).toEqual(['node hack/test-summary.mjs "$report"', 'exit "$status"']);
  });
});
