import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { stringify } from 'yaml';
import { claudeCodeBinary } from '../testbed/claude-code.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const BOOT_TIMEOUT_MS = 60_000;

/** A line of the gateway's output: an operational log line (`msg`) or an audit event (`evt`). */
export type OutputLine = Record<string, unknown>;

/** One gateway, started as a user would start it: a process with a configuration file. */
export class GatewayProcess {
  readonly url: string;
  readonly configPath: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #directory: string;
  #output = '';

  private constructor(child: ChildProcess, url: string, directory: string, configPath: string) {
    this.#child = child;
    this.url = url;
    this.#directory = directory;
    this.configPath = configPath;
    this.#exited = once(child, 'exit').then(([code]) => code as number | null);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => (this.#output += chunk));
    }
  }

  /**
   * @param config The document of gateway.yaml. `listen.port` must be a real port; see {@link freePort}.
   * @throws Error with everything that the process printed when it does not become ready.
   */
  static async start(
    config: GatewayDocument,
    env: NodeJS.ProcessEnv = {},
    program: GatewayProgram = ours(),
  ): Promise<GatewayProcess> {
    const gateway = GatewayProcess.spawn(config, env, program);
    await gateway.ready();
    return gateway;
  }

  /** Starts the process without waiting; for tests of starts that fail. */
  static spawn(
    config: GatewayDocument | string,
    env: NodeJS.ProcessEnv = {},
    { command, args }: GatewayProgram = ours(),
  ): GatewayProcess {
    const directory = mkdtempSync(join(tmpdir(), 'gateway-'));
    const configPath = join(directory, 'gateway.yaml');
    writeFileSync(configPath, typeof config === 'string' ? config : stringify(config));
    const child = spawn(command, [...args, '--config', configPath], {
      env: { PATH: process.env['PATH'], HOME: directory, CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const port = typeof config === 'string' ? 0 : config.listen.port;
    return new GatewayProcess(child, `http://127.0.0.1:${port}`, directory, configPath);
  }

  async ready(): Promise<void> {
    const deadline = Date.now() + BOOT_TIMEOUT_MS;
    let exited = false;
    void this.#exited.then(() => (exited = true));
    while (!exited && Date.now() < deadline) {
      const response = await fetch(`${this.url}/readyz`).catch(() => undefined);
      if (response?.status === 200) return;
      await sleep(50);
    }
    await this.stop('SIGKILL');
    throw new Error(`gateway ${exited ? 'exited' : 'did not become ready'}:\n${this.#output}`);
  }

  /** Replaces the configuration file; the process notices by itself. */
  reconfigure(config: GatewayDocument | string): void {
    writeFileSync(this.configPath, typeof config === 'string' ? config : stringify(config));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The exit code, once the process has ended; null when a signal ended it. */
  get exited(): Promise<number | null> {
    return this.#exited;
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    this.#child.kill(signal);
    const code = await this.#exited;
    rmSync(this.#directory, { recursive: true, force: true });
    return code;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Everything printed so far. */
  get output(): string {
    return this.#output;
  }

  get lines(): OutputLine[] {
    return this.#output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as OutputLine);
  }

  audit(event: string): OutputLine[] {
    return this.lines.filter((line) => line['evt'] === event);
  }

  /** Waits until a line satisfies the condition. @throws Error with the output when none does in time. */
  async until(condition: (line: OutputLine) => boolean, timeoutMs = 20_000): Promise<OutputLine> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      const line = this.lines.find(condition);
      if (line !== undefined) return line;
      await sleep(20);
    }
    throw new Error(`no such line in time; output:\n${this.#output}`);
  }
}

/** What tests read and write of gateway.yaml; everything else passes. */
export interface GatewayDocument {
  listen: { host?: string; port: number; public_url?: string; [key: string]: unknown };
  [section: string]: unknown;
}

/** What is run; `--config` and the file come behind `args`. */
export interface GatewayProgram {
  readonly command: string;
  readonly args: readonly string[];
}

/** This gateway. @param preload A module that is imported before the program. */
export function ours(preload?: string): GatewayProgram {
  const imports = preload === undefined ? [] : ['--import', pathToFileURL(preload).href];
  return { command: process.execPath, args: [...imports, ...gatewayEntry()] };
}

/** The reference gateway, which is part of Claude Code. @throws Error when it cannot be had on this machine. */
export function reference(): GatewayProgram {
  return { command: claudeCodeBinary(), args: ['gateway'] };
}

/** `GATEWAY_E2E_DIST=1` runs what `make build` made, anything else the sources. */
function gatewayEntry(): string[] {
  if (process.env['GATEWAY_E2E_DIST'] === '1') return [join(ROOT, 'gateway/dist/main.js')];
  return ['--conditions=source', '--disable-warning=ExperimentalWarning', join(ROOT, 'gateway/src/main.ts')];
}

/** Runs the gateway's command line to its end. */
export async function runGateway(
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...gatewayEntry(), ...args], {
    env: { PATH: process.env['PATH'], CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}
