import { spawn } from 'node:child_process';

export interface RunningScript {
  /** Tells it to end, and waits until it has. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a script that prints `ready` when it is, and runs until its standard input ends: so it hears of the end of
 * this process, however that ends. A signal from the terminal does not reach it.
 *
 * @returns when it is ready. @throws with the last lines it printed when it ends before.
 */
export async function startScript(
  path: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<RunningScript> {
  const child = spawn(path, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env });
  const ended = new Promise<void>((resolve) => child.once('close', resolve).once('error', resolve));
  child.stdin.on('error', () => undefined);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said = (said + chunk).slice(-2000)));
  const ready = await new Promise<boolean>((resolve) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (/^ready$/m.test(output)) resolve(true);
    });
    void ended.then(() => resolve(false));
  });
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  if (!ready) {
    await stop();
    throw new Error(`${path} did not start: ${said}`);
  }
  return { stop };
}
