import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchPackage } from '@claude-gateway/dev';
import { Terminal } from './terminal.ts';

/** The release that the protocol was measured against. */
export const CLAUDE_CODE_VERSION = '2.1.330';

const INTEGRITY: Readonly<Record<string, string>> = {
  'linux-x64':
    'sha512-9Gn+V7DtJ8M1nztP9CeDVl9g3RtrepI7rOFTyPRRnZe8D6zebIHKmC7OvBauucuAP0X0k85SDN/LPVZyjsGezQ==',
  'linux-arm64':
    'sha512-V4yanAY5EA5UpwwRPtjSfqDbNqAlUJeVn3NYZw2AgmRHjdpSsLtHAzbxRXfkAnbjwTXzE0uedjQxUY02ARPcsA==',
  'darwin-arm64':
    'sha512-rgzAjrRJJsIdZXGF9CCFFbURxKuJNobRr+krV3dNmqNJWIws74rLD0CABe4+nXlx/9WwRECTrveprWB96mubqw==',
  'darwin-x64':
    'sha512-XenTNj2zXaFrnLmf47n25vChfFhlfeyaAR/vW5SFsEnLGwd2U1vDUY97+5etHBZu3xWBnlK8HhBVxzRi9YTUDw==',
};

/**
 * The Claude Code program, unmodified: what `CLAUDE_CODE_BIN` names, or {@link CLAUDE_CODE_VERSION} from npm, fetched
 * into the cache the first time (240 MB).
 *
 * @throws Error when it cannot be had on this machine.
 */
export function claudeCodeBinary(): string {
  const named = process.env['CLAUDE_CODE_BIN'];
  if (named) {
    if (!existsSync(named)) throw new Error(`CLAUDE_CODE_BIN=${named} does not exist`);
    return named;
  }
  const platform = `${process.platform}-${process.arch}`;
  const integrity = INTEGRITY[platform];
  if (integrity === undefined) {
    throw new Error(`no Claude Code is pinned for ${platform}: name one in CLAUDE_CODE_BIN`);
  }
  const name = `@anthropic-ai/claude-code-${platform}`;
  return join(fetchPackage({ name, version: CLAUDE_CODE_VERSION, integrity }), 'claude');
}

/** Where device management puts `managed-settings.json` on Linux. */
const MANAGED_PLACE = '/etc/claude-code';

/** Where the client is told which gateway to sign in to. */
export type GatewayNamedBy =
  /** `~/.claude/settings.json` of a scratch home. */
  | 'user settings'
  /** `/etc/claude-code/managed-settings.json`, as device management would: in a mount namespace of the client's own. */
  | 'managed settings';

/** One developer's machine: a home of its own, a project directory, and the client. */
export class ClaudeCode {
  readonly home: string;
  readonly #binary: string;
  readonly #workspace: string;
  readonly #namedBy: GatewayNamedBy;
  /** Whether there was something to mount over before we came. */
  readonly #managedPlaceExisted = existsSync(MANAGED_PLACE);

  constructor(gatewayUrl: string, namedBy: GatewayNamedBy) {
    this.#binary = claudeCodeBinary();
    this.home = mkdtempSync(join(tmpdir(), 'claude-home-'));
    this.#workspace = join(this.home, 'project');
    this.#namedBy = namedBy;
    mkdirSync(this.#workspace);
    mkdirSync(join(this.home, '.claude'));
    mkdirSync(this.#managedDirectory);
    const settings = JSON.stringify({ forceLoginMethod: 'gateway', forceLoginGatewayUrl: gatewayUrl });
    const place =
      namedBy === 'managed settings'
        ? join(this.#managedDirectory, 'managed-settings.json')
        : join(this.home, '.claude', 'settings.json');
    writeFileSync(place, settings);
  }

  get #managedDirectory(): string {
    return join(this.home, 'etc-claude-code');
  }

  /** The interactive client on a terminal. */
  open(args: readonly string[] = []): Terminal {
    return Terminal.start(this.#command(args), { cwd: this.#workspace, env: this.#env() });
  }

  /** `claude -p PROMPT`: one answer, no terminal. */
  async print(prompt: string, args: readonly string[] = []): Promise<PrintResult> {
    const [command = '', ...rest] = this.#command(['-p', prompt, '--output-format', 'json', ...args]);
    const child = spawn(command, rest, {
      cwd: this.#workspace,
      env: this.#env(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    const code = await new Promise<number | null>((done, fail) =>
      child.once('close', done).once('error', fail),
    );
    return { code, stdout, stderr, result: parseResult(stdout) };
  }

  /** Every JSON file under the client's home whose name or content matches, for looking at what it remembers. */
  remembered(pattern: RegExp): { path: string; content: string }[] {
    return readdirSync(this.home, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.json'))
      .map((path) => ({ path, content: readFileSync(join(this.home, path), 'utf8') }))
      .filter(({ path, content }) => pattern.test(path) || pattern.test(content));
  }

  dispose(): void {
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    if (this.#namedBy === 'managed settings' && !this.#managedPlaceExisted) {
      spawnSync('rmdir', [MANAGED_PLACE], { stdio: 'ignore' });
    }
  }

  #command(args: readonly string[]): string[] {
    if (this.#namedBy === 'user settings') return [this.#binary, ...args];
    const script = `mkdir -p ${MANAGED_PLACE} && mount --bind "$0" ${MANAGED_PLACE} && exec "$@"`;
    return ['unshare', '--mount', 'sh', '-c', script, this.#managedDirectory, this.#binary, ...args];
  }

  #env(): NodeJS.ProcessEnv {
    // `BROWSER=true`: the test opens the page itself. The rest is what a login shell would have.
    return {
      PATH: process.env['PATH'],
      HOME: this.home,
      LANG: 'C.UTF-8',
      BROWSER: 'true',
      DISABLE_AUTOUPDATER: '1',
    };
  }
}

export interface PrintResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The `result` object of `--output-format json`, when there was one. */
  readonly result: { readonly result?: string; readonly is_error?: boolean } | null;
}

function parseResult(stdout: string): PrintResult['result'] {
  try {
    return JSON.parse(stdout) as PrintResult['result'];
  } catch {
    return null;
  }
}

/** Whether this machine lets us show one process a managed settings file that nobody else sees. */
export function canUseManagedSettings(): boolean {
  return process.platform === 'linux' && spawnSync('unshare', ['--mount', 'true']).status === 0;
}
