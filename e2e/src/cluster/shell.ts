import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { execute } from './execute.ts';

/** A person's shell: it runs commands as documents print them, on one cluster, with settings of its own. */
export class Shell {
  readonly #home = mkdtempSync(join(tmpdir(), 'shell-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #background = new Set<ChildProcess>();

  /**
   * @param programs Paths of the programs that are called by name.
   * @param variables Further environment variables.
   */
  constructor(
    kubeconfig: string,
    programs: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ) {
    const path = [...programs.map((program) => dirname(program)), process.env['PATH']].join(delimiter);
    this.#env = { PATH: path, HOME: this.#home, KUBECONFIG: kubeconfig, ...variables };
  }

  /** @returns what it printed. @throws with what it complained about. */
  run(command: string): Promise<string> {
    return execute('bash', ['-euo', 'pipefail', '-c', command], '', this.#env);
  }

  /**
   * Leaves a command running, until `dispose`.
   *
   * @returns when it has printed what is expected. @throws with all it printed when it ends before.
   */
  async start(command: string, expected: RegExp): Promise<void> {
    const child = spawn('bash', ['-c', `exec ${command}`], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#background.add(child);
    await new Promise<void>((resolve, reject) => {
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          output += chunk;
          if (expected.test(output)) resolve();
        });
      }
      child.once('error', reject).once('close', () => reject(new Error(`${command} ended: ${output}`)));
    });
  }

  dispose(): void {
    for (const child of this.#background) child.kill();
    rmSync(this.#home, { recursive: true, force: true });
  }
}
