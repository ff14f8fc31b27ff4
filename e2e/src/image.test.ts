import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, startIdentityProvider, startMessagesUpstream, startPostgres } from '@claude-gateway/dev';
import { afterAll, afterEach, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { describeWith } from './testbed/requirements.ts';

const IMAGE = process.env['CLAUDE_GATEWAY_IMAGE'] ?? '';
const DOCKER = process.env['DOCKER'] ?? 'docker';

/** As a cluster runs it: nothing writable, no privileges, and no network unless it is asked for. */
const LOCKED_DOWN = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges'];

const describeImage = describeWith({ 'an image (make test-image builds one)': IMAGE });

function docker(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr, error } = spawnSync(DOCKER, args, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined) throw error;
  return { status, stdout, stderr };
}

function run(options: readonly string[], ...args: string[]): ReturnType<typeof docker> {
  return docker('run', '--rm', ...LOCKED_DOWN, '--network=none', ...options, IMAGE, ...args);
}

/** Runs JavaScript in the image. @returns what it printed, as JSON. */
function evaluate(script: string): unknown {
  const { status, stdout, stderr } = docker(
    'run',
    '--rm',
    ...LOCKED_DOWN,
    '--network=none',
    '--entrypoint=node',
    IMAGE,
    '--input-type=commonjs',
    '--eval',
    `console.log(JSON.stringify((() => { ${script} })()))`,
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as unknown;
}

describeImage('the container image', () => {
  const directory = mkdtempSync(join(tmpdir(), 'image-test-'));
  const cleanups: (() => unknown)[] = [];

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** The option that mounts this file where the image looks for its configuration. */
  function mountConfig(document: unknown): string {
    const path = join(directory, `${randomUUID()}.yaml`);
    writeFileSync(path, stringify(document), { mode: 0o644 });
    return `--volume=${path}:/etc/claude-gateway/gateway.yaml:ro`;
  }

  const SECTIONS = {
    listen: { host: '127.0.0.1', port: 8080, public_url: 'http://127.0.0.1:8080' },
    oidc: { issuer: 'https://idp.corp.example', client_id: 'gateway', client_secret: 'a-client-secret' },
    session: { jwt_secret: 'a-secret-of-at-least-thirty-two-bytes-for-tests' },
    store: { postgres_url: 'postgres://gateway@db.corp.example/gateway' },
    upstreams: [{ provider: 'anthropic', auth: { api_key: 'sk-ant-test' } }],
  };

  it('prints the schema of its configuration', () => {
    const { status, stdout } = run([], '--print-schema');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toHaveProperty('properties.upstreams');
  });

  it('runs the operator when asked to', () => {
    const { status, stdout } = run([], 'operator', '--version');
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^claude-gateway-operator \d+\.\d+\.\d+\n$/)]);
    const { status: failed, stderr } = run([], 'operator');
    expect(failed).toBe(1);
    expect(stderr).toContain('POD_NAME is not set');
  });

  it('checks a mounted configuration, and says what is wrong with a bad one', () => {
    const path = '/etc/claude-gateway/gateway.yaml';
    expect(run([mountConfig(SECTIONS)], '--config', path, '--check')).toMatchObject({ status: 0 });

    const bad = run([mountConfig({ ...SECTIONS, listen: { prot: 8080 } })], '--config', path, '--check');
    expect(bad.status).toBe(1);
    expect(bad.stderr).toContain('prot');
  });

  it('holds the program and nothing to break in with', () => {
    expect(evaluate('return process.getuid()')).toBe(65_532);
    expect(evaluate('return process.env.NODE_ENV')).toBe('production');
    const present = evaluate(`
      const { existsSync } = require('node:fs');
      return ['/bin/sh', '/usr/bin/env', '/app/dev', '/app/e2e', '/app/node_modules/typescript',
        '/app/node_modules/prisma', '/app/node_modules/jest', '/app/node_modules/oidc-provider'].filter(existsSync)`);
    expect(present).toEqual([]);
    const tests = evaluate(`
      const { readdirSync } = require('node:fs');
      return ['gateway', 'contract', 'prisma'].flatMap((name) =>
        readdirSync('/app/' + name, { recursive: true }).filter((path) => /\\.test\\.|testing|\\.ts$/.test(path)))`);
    expect(tests).toEqual([]);
    expect(docker('run', '--rm', '--network=none', '--entrypoint=/bin/sh', IMAGE).status).not.toBe(0);
  });

  it('tells scanners what is in it', () => {
    const [{ Config: config, Size: size }] = JSON.parse(docker('image', 'inspect', IMAGE).stdout) as [
      { Config: { Labels: Record<string, string>; User: string }; Size: number },
    ];
    expect(config.User).toBe('65532:65532');
    expect(config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'claude-gateway',
      'org.opencontainers.image.licenses': 'Apache-2.0',
    });
    expect(config.Labels['org.opencontainers.image.revision']).toMatch(/^[0-9a-f]{40}$/);
    // Node.js itself is 127 MB of it, and the Kubernetes client of the operator 10.
    expect(size).toBeLessThan(195e6);

    const versions = evaluate(`
      const { packages } = require('/app/package-lock.json');
      return Object.entries(packages).filter(([path, { link }]) => path.startsWith('node_modules/') && !link)
        .filter(([path, { version }]) => require('/app/' + path + '/package.json').version !== version)`);
    expect(versions).toEqual([]);
    expect(evaluate(`return require('node:fs').readdirSync('/var/lib/dpkg/status.d')`)).toContain('libc6');
  });

  it('serves, with a database that it sets up itself, and stops in order', async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const postgres = await startPostgres();
    cleanups.push(() => postgres.stop());
    const upstream = await startMessagesUpstream();
    cleanups.push(() => upstream.stop());
    const client = { client_id: 'gateway', client_secret: 'a-client-secret-for-tests' };
    const identityProvider = await startIdentityProvider({
      clients: [{ ...client, redirect_uris: [`${url}/oauth/callback`] }],
    });
    cleanups.push(() => identityProvider.stop());
    const config = mountConfig({
      ...SECTIONS,
      listen: { host: '127.0.0.1', port, public_url: url },
      oidc: { issuer: identityProvider.issuer, ...client },
      store: { postgres_url: await postgres.createDatabase() },
      upstreams: [{ provider: 'anthropic', base_url: upstream.url, auth: { api_key: 'sk-ant-test' } }],
    });
    const name = `claude-gateway-test-${randomUUID()}`;
    const loopback = ['--env', 'CLAUDE_GATEWAY_ALLOW_LOOPBACK=1', '--network=host'];
    const started = docker('run', '--detach', '--name', name, ...LOCKED_DOWN, ...loopback, config, IMAGE);
    expect(started).toMatchObject({ status: 0 });
    cleanups.push(() => docker('rm', '--force', name));

    for (let attempt = 0; ; attempt++) {
      const response = await fetch(`${url}/readyz`).catch(() => undefined);
      if (response?.ok) break;
      if (attempt === 100) throw new Error(`not ready: ${docker('logs', name).stderr}`);
      await sleep(200);
    }
    const device = await fetch(`${url}/oauth/device_authorization`, {
      method: 'POST',
      body: new URLSearchParams(),
    });
    expect(await device.json()).toMatchObject({ verification_uri: `${url}/device`, expires_in: 600 });

    expect(docker('stop', '--time=30', name).status).toBe(0);
    expect(docker('inspect', '--format={{.State.ExitCode}}', name).stdout.trim()).toBe('0');
  }, 120_000);
});
