import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderConfig } from './gateway-config.ts';
import { CASES, sampleValue, SIGNING_KEYS } from './testing/samples.ts';

const MAIN = fileURLToPath(new URL('../../../gateway/src/main.ts', import.meta.url));
const MOUNTED = '/etc/claude-gateway';
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'rendered-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** `gateway --check`, with everything mounted below the directory instead of its own place. */
function check(name: string, yaml: string): Promise<{ code: unknown; output: string }> {
  const file = join(directory, `${name}.yaml`);
  writeFileSync(file, yaml.replaceAll(MOUNTED, directory));
  const args = ['--conditions=source', '--disable-warning=ExperimentalWarning', MAIN];
  const env = { PATH: process.env['PATH'], CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' };
  return new Promise((done) => {
    execFile(process.execPath, [...args, '--config', file, '--check'], { env }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : error.code, output: stdout + stderr }),
    );
  });
}

it.each(CASES)(
  '$name: gateway --check has nothing to say but what it cannot do yet',
  async ({ name, gateway }) => {
    const { yaml, files, tokens } = renderConfig(gateway, SIGNING_KEYS);
    const mount = (path: string, content: string): void => {
      const file = path.replace(MOUNTED, directory);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    };
    for (const { kind, name: object, key, path } of files) mount(path, sampleValue(kind, object, key) ?? '');
    for (const { path } of tokens) mount(path, 'a-token');
    const { code, output } = await check(name, yaml);
    if (code === 0) {
      expect(output).toBe(`${join(directory, `${name}.yaml`)}: valid\n`);
      return;
    }
    const problems = output.trim().split('\n').slice(1);
    expect(problems).not.toEqual([]);
    expect(problems.filter((line) => !line.includes('not built into this version'))).toEqual([]);
  },
);

it('would notice a document that the gateway refuses', async () => {
  const { code, output } = await check('broken', 'listen: { prot: 1 }');
  expect(code).not.toBe(0);
  expect(output).toContain('did you mean port?');
});
