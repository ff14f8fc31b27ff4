import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');

/** What `make dev` runs, on a directory of its own. */
class DevelopmentRun {
  readonly #child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = '';

  constructor(home: string, env: NodeJS.ProcessEnv = {}) {
    const { PATH, HOME } = process.env;
    this.#child = spawn(
      process.execPath,
      ['--conditions=source', '--disable-warning=ExperimentalWarning', join(ROOT, 'dev/src/main.ts')],
      { env: { PATH, HOME, CLAUDE_GATEWAY_DEV_HOME: home, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => (this.output += chunk));
    }
    this.exited = once(this.#child, 'exit').then(([code]) => code as number | null);
  }

  async until(pattern: RegExp): Promise<RegExpExecArray> {
    let running = true;
    void this.exited.then(() => (running = false));
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (!running) throw new Error(`ended without ${pattern.source}:\n${this.output}`);
      await sleep(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => settle(true)).once('error', () => settle(false));
    socket.once('connect', () => socket.destroy());
  });
}

describe('make dev', () => {
  const home = mkdtempSync(join(tmpdir(), 'make-dev-'));
  const runs: DevelopmentRun[] = [];

  afterEach(async () => {
    for (const run of runs.splice(0)) {
      run.signal('SIGTERM');
      await run.exited;
    }
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  function start(env?: NodeJS.ProcessEnv): DevelopmentRun {
    const run = new DevelopmentRun(home, env);
    runs.push(run);
    return run;
  }

  it('brings a gateway up, says what to do next, refuses a second of its kind, and leaves nothing behind', async () => {
    const first = start();
    const [, url = ''] = await first.until(/The gateway is ready:\S* (http:\S+)/);
    await first.until(/Ctrl-C stops everything/);
    expect(first.output).toContain(`"forceLoginGatewayUrl":"${url}"`);
    expect(first.output).toContain(`CLAUDE_CONFIG_DIR=${join(home, 'claude')} claude`);
    for (const person of ['alice', 'bob', 'carol', 'dave']) expect(first.output).toContain(`  ${person}`);
    expect((await fetch(`${url}/.well-known/oauth-authorization-server`)).status).toBe(200);
    expect(statSync(join(home, 'gateway.yaml')).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, 'secrets.json')).mode & 0o777).toBe(0o600);

    const second = start();
    expect(await second.exited).toBe(1);
    expect(second.output).toMatch(/already running in this checkout \(process \d+\)/);

    const ports = Object.values(
      JSON.parse(readFileSync(join(home, 'ports.json'), 'utf8')) as Record<string, number>,
    );
    expect(await Promise.all(ports.map(answers))).toEqual(ports.map(() => true));
    first.signal('SIGINT');
    expect(await first.exited).toBe(0);
    expect(await Promise.all(ports.map(answers))).toEqual(ports.map(() => false));
  }, 120_000);

  it('keeps its address, secrets and database over a restart', async () => {
    const config = readFileSync(join(home, 'gateway.yaml'), 'utf8');
    const again = start();
    await again.until(/Ctrl-C stops everything/);
    expect(readFileSync(join(home, 'gateway.yaml'), 'utf8')).toBe(config);
    await again.until(/SpendPolicy claude\/contractors: Accepted/);
    // Nobody has signed in here, so that is no reason to doubt the spelling of a name.
    expect(again.output).not.toContain('been seen');
    again.signal('SIGTERM');
    expect(await again.exited).toBe(0);
  }, 120_000);

  it('runs with a copy of the configuration, as the first lines of the configuration say', async () => {
    const copy = join(home, 'my-gateway.yaml');
    const written = readFileSync(join(home, 'gateway.yaml'), 'utf8');
    expect(written).toContain('make dev CONFIG=');
    writeFileSync(copy, written.replace('ask carol for more', 'ask dave for more'));
    const own = start({ CLAUDE_GATEWAY_DEV_CONFIG: copy });
    await own.until(/Ctrl-C stops everything/);
    expect(own.output).toContain(`config.load  path=${copy}`);
    own.signal('SIGTERM');
    expect(await own.exited).toBe(0);

    const lost = start({ CLAUDE_GATEWAY_DEV_CONFIG: join(home, 'lost.yaml') });
    expect(await lost.exited).toBe(1);
    expect(lost.output).toMatch(/there is no \S+lost\.yaml: copy \S+gateway\.yaml there/);
  }, 120_000);

  it('names the part that failed, with its last words, and stops the rest', async () => {
    const run = start({ CLAUDE_GATEWAY_LOG_LEVEL: 'nonsense' });
    expect(await run.exited).toBe(1);
    expect(run.output).toMatch(/the gateway ended with exit code 1/);
    const ports = Object.values(
      JSON.parse(readFileSync(join(home, 'ports.json'), 'utf8')) as Record<string, number>,
    );
    expect(await Promise.all(ports.map(answers))).toEqual(ports.map(() => false));
  }, 120_000);

  it('says so when the port that was asked for is taken', async () => {
    const server = (await import('node:net')).createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const run = start({ PORT: String(port) });
    expect(await run.exited).toBe(1);
    expect(run.output).toContain(`port ${port} is in use by another program`);
    await new Promise((done) => server.close(done));
  }, 120_000);
});
