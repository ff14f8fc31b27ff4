import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TerminalOptions {
  readonly cwd: string;
  /** The whole environment of the program. */
  readonly env: NodeJS.ProcessEnv;
  readonly columns?: number;
  readonly rows?: number;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const POLL_MS = 150;

/** A program on a real terminal (tmux), as a person sees and types it. Each has a tmux server of its own. */
export class Terminal {
  readonly #directory: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(env: NodeJS.ProcessEnv) {
    this.#directory = mkdtempSync(join(tmpdir(), 'terminal-'));
    this.#env = env;
  }

  /** @throws Error when tmux is not there. */
  static start(command: readonly string[], options: TerminalOptions): Terminal {
    const terminal = new Terminal(options.env);
    const size = ['-x', String(options.columns ?? 120), '-y', String(options.rows ?? 45)];
    // The wide screen of a program that ended stays to be read.
    terminal.#tmux('start-server', ';', 'set-option', '-g', 'remain-on-exit', 'on', ';',
      'set-option', '-g', 'default-terminal', 'screen-256color', ';',
      'new-session', '-d', ...size, '-c', options.cwd, '--', ...command); // prettier-ignore
    return terminal;
  }

  /** tmux's key names: `Enter`, `Up`, `Escape`, `C-c`. */
  press(...keys: string[]): void {
    this.#tmux('send-keys', ...keys);
  }

  type(text: string): void {
    this.#tmux('send-keys', '-l', '--', text);
  }

  /** What is on the screen now. */
  screen(): string {
    return this.#tmux('capture-pane', '-p', '-J').trimEnd();
  }

  /**
   * Waits until the screen shows the text.
   *
   * @returns the match.
   * @throws Error with the screen when it does not in time.
   */
  async waitFor(pattern: RegExp, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.screen());
      if (match !== null) return match;
      if (Date.now() > deadline) {
        throw new Error(`the screen does not show ${pattern.source}; it shows:\n${this.screen()}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** Presses keys until the screen shows the text: programs miss keys that come while they redraw. */
  async pressUntil(
    keys: readonly string[],
    pattern: RegExp,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  ): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      this.press(...keys);
      try {
        return await this.waitFor(pattern, 4000);
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  }

  /** Ends the program, at once so that it writes nothing more, and its terminal. Idempotent. */
  stop(): void {
    const panes = spawnSync('tmux', ['-S', this.#socket, 'list-panes', '-a', '-F', '#{pane_pid}'], {
      encoding: 'utf8',
    });
    for (const pid of panes.stdout.split('\n').map(Number)) {
      try {
        if (pid > 0) process.kill(pid, 'SIGKILL');
      } catch {
        // It had ended by itself.
      }
    }
    spawnSync('tmux', ['-S', this.#socket, 'kill-server']);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #socket(): string {
    return join(this.#directory, 'tmux');
  }

  #tmux(...args: string[]): string {
    const { status, stdout, stderr, error } = spawnSync(
      'tmux',
      ['-S', this.#socket, '-f', '/dev/null', ...args],
      {
        encoding: 'utf8',
        env: this.#env,
      },
    );
    if (error !== undefined) throw error;
    if (status !== 0) throw new Error(`tmux ${args[0]}: ${stderr}`);
    return stdout;
  }
}
