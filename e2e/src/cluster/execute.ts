import { spawn } from 'node:child_process';

/** Runs a program to its end. @returns its output. @throws with its complaints when it fails. */
export async function execute(
  command: string,
  args: readonly string[],
  input = '',
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaints += chunk));
  // It may end without having read all of it.
  child.stdin.on('error', () => undefined).end(input);
  const code = await new Promise<number | null>((done, fail) =>
    child.once('close', done).once('error', fail),
  );
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${complaints.trim() || `exit ${code}`}`);
  return output;
}
