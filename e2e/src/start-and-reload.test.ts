import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@claude-gateway/dev';
import pg from 'pg';
import { stringify } from 'yaml';
import { GatewayProcess, runGateway } from './harness/gateway-process.ts';
import { signIn } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
const directory = mkdtempSync(join(tmpdir(), 'start-'));
beforeAll(async () => {
  stack = await startStack();
}, 120_000);
afterAll(async () => {
  await stack.stop();
  rmSync(directory, { recursive: true });
});

let files = 0;
function file(document: unknown): string {
  const path = join(directory, `gateway-${files++}.yaml`);
  writeFileSync(path, typeof document === 'string' ? document : stringify(document));
  return path;
}

describe('a start that cannot work fails closed, in one line that names the problem', () => {
  const withPort = async (changes: Record<string, unknown>) => ({
    ...stack.document(),
    listen: { host: '127.0.0.1', port: await freePort(), public_url: 'http://127.0.0.1:1' },
    ...changes,
  });

  it('no such file', async () => {
    const { code, stderr } = await runGateway(['--config', join(directory, 'absent.yaml')]);
    expect(code).toBe(1);
    expect(stderr).toContain('absent.yaml');
  });

  it('every problem of the file at once', async () => {
    const document = {
      ...(await withPort({})),
      acess_control: {},
      session: { jwt_secret: 'short' },
      store: { postgres_url: 'mysql://x' },
    };
    const { code, stderr } = await runGateway(['--config', file(document)]);
    expect(code).toBe(1);
    for (const part of [
      'acess_control',
      'did you mean',
      'access_control',
      'session.jwt_secret',
      'store.postgres_url',
    ]) {
      expect(stderr.toLowerCase()).toContain(part);
    }
    expect(stderr).not.toContain('short');
  });

  it('PostgreSQL does not answer', async () => {
    const port = await freePort();
    const store = {
      postgres_url: `postgres://gateway:not-to-be-printed@127.0.0.1:${port}/gateway`,
      connect_timeout_seconds: 1,
      start_timeout_seconds: 2,
    };
    const { code, stderr } = await runGateway(['--config', file(await withPort({ store }))]);
    expect(code).toBe(1);
    expect(stderr).toContain(`127.0.0.1:${port}`);
    expect(stderr).not.toContain('not-to-be-printed');
  }, 60_000);

  it('PostgreSQL does not answer, for as long as it was told to wait, or until it is stopped', async () => {
    const port = await freePort();
    const store = {
      postgres_url: `postgres://gateway:not-to-be-printed@127.0.0.1:${port}/gateway`,
      start_timeout_seconds: 600,
    };
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
    ] as const) {
      const waiting = GatewayProcess.spawn(await withPort({ store }));
      const tries = (): number =>
        waiting.lines.filter(({ msg }) => String(msg).startsWith('cannot use PostgreSQL yet')).length;
      await waiting.until(() => tries() > 1);
      expect(await waiting.stop(signal)).toBe(code);
      expect(waiting.output).toContain('stopped before it had started');
      expect(waiting.output).toContain(`127.0.0.1:${port}/gateway`);
      expect(waiting.output).not.toContain('not-to-be-printed');
    }
  }, 60_000);

  it('the identity provider has no discovery document', async () => {
    const oidc = { ...(stack.document()['oidc'] as object), issuer: `http://127.0.0.1:${await freePort()}` };
    const { code, stderr } = await runGateway(['--config', file(await withPort({ oidc }))]);
    expect(code).toBe(1);
    expect(stderr).toContain(oidc.issuer);
  }, 60_000);

  it('loopback is not allowed unless it is', async () => {
    const { code, stderr } = await runGateway(['--config', file(await withPort({}))], {
      CLAUDE_GATEWAY_ALLOW_LOOPBACK: '',
    });
    expect(code).toBe(1);
    expect(stderr).toContain('CLAUDE_GATEWAY_ALLOW_LOOPBACK');
  }, 60_000);

  it('the port is taken', async () => {
    const taken = { ...stack.document() };
    const { code, stderr } = await runGateway(['--config', file(taken)]);
    expect(code).toBe(1);
    expect(stderr).toContain(String(taken.listen.port));
  }, 60_000);

  it('a section that this version would ignore', async () => {
    const { code, stderr } = await runGateway([
      '--config',
      file(await withPort({ load_test_mode: { enabled: true } })),
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('load_test_mode');
  });
});

describe('the command line', () => {
  it('--check says yes and exits 0, or lists what is wrong and exits 1', async () => {
    const good = await runGateway(['--config', file(stack.document()), '--check']);
    expect(good).toMatchObject({ code: 0 });
    const bad = await runGateway([
      '--config',
      file({ ...stack.document(), limits: { max_request_bytes: -1 } }),
      '--check',
    ]);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('limits.max_request_bytes');
  });

  it('--check names the field of a file that has no end, no beginning, or not what it should have', async () => {
    const fifo = join(directory, 'pipe');
    execFileSync('mkfifo', [fifo]);
    const huge = join(directory, 'huge');
    writeFileSync(huge, '');
    truncateSync(huge, 1024 ** 3);
    const text = file('no certificate');
    const check = async (changes: object): Promise<string> => {
      const { code, stderr } = await runGateway(['--config', file({ ...stack.document(), ...changes }), '--check']); // prettier-ignore
      expect(code).toBe(1);
      return stderr;
    };
    for (const path of ['/dev/zero', '/dev/stdin', fifo, huge, directory]) {
      expect(await check({ session: { jwt_secret: `\${file:${path}}` } })).toMatch(
        /session\.jwt_secret.*cannot read the file .* \(it (is not a regular file|has more than 4 MiB)\)/,
      );
    }
    const said = await check({
      listen: { ...(stack.document()['listen'] as object), tls: { cert: fifo, key: '/dev/zero' } },
      store: { postgres_url: `postgres://me@db.example/x?sslrootcert=${text}` },
      upstreams: [
        {
          provider: 'anthropic',
          auth: { federation_rule_id: 'r', organization_id: 'o', identity_token_file: '/dev/zero' },
        },
      ],
    });
    for (const field of [
      'listen.tls.cert: cannot read the file',
      'listen.tls.key: cannot read the file',
      'store.postgres_url: sslrootcert must name a file',
      'upstreams[0].auth.identity_token_file: cannot read the file /dev/zero (it is not a regular file)',
    ])
      expect(said).toContain(field);
    for (const postgres_url of ['postgres://me@[64:ff9b::a9fe:a9fe]/x', 'postgres://me@0.0.0.0/x'])
      expect(await check({ store: { postgres_url } })).toMatch(/store\.postgres_url.*must name a host that/);
    expect(
      await check({
        upstreams: [
          { provider: 'anthropic', base_url: 'http://[64:ff9b::a9fe:a9fe]', auth: { api_key: 'x' } },
        ],
      }),
    ).toContain('upstreams[0].base_url');
  });

  it('--print-schema prints a JSON Schema', async () => {
    const { code, stdout } = await runGateway(['--print-schema']);
    expect(code).toBe(0);
    const schema = JSON.parse(stdout) as { $schema: string; properties: Record<string, unknown> };
    expect(schema.$schema).toContain('2020-12');
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['listen', 'oidc', 'workload_identity']),
    );
  });

  it('an unknown option prints the usage and exits 2', async () => {
    const { code, stderr } = await runGateway(['--confg', 'x']);
    expect(code).toBe(2);
    expect(stderr).toContain('Usage:');
  });

  it('lists and revokes sessions', async () => {
    const { accessToken } = await signIn(stack.url, 'alice');
    const path = file(stack.document());
    const listed = await runGateway(['sessions', '--config', path, '--user', 'alice@corp.example']);
    expect(listed.code).toBe(0);
    expect(listed.stdout).toContain('alice@corp.example');
    const revoked = await runGateway(['revoke', '--config', path, '--user', 'alice@corp.example']);
    expect(revoked.code).toBe(0);
    const models = async () =>
      (await fetch(`${stack.url}/v1/models`, { headers: { authorization: `Bearer ${accessToken}` } })).status;
    for (let i = 0; i < 40 && (await models()) !== 401; i++)
      await new Promise((done) => setTimeout(done, 50));
    expect(await models()).toBe(401);
  });
});

describe('reload', () => {
  const models = async (token: string): Promise<string[]> => {
    const response = await fetch(`${stack.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } });
    return ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
  };
  const only = (model: string) => ({
    ...stack.document(),
    managed: { policies: [{ match: {}, cli: { availableModels: [model] } }] },
  });
  const gateway = (): GatewayProcess => stack.replicas[0] as GatewayProcess;
  const reloads = (): number =>
    gateway().lines.filter((line) => line['msg'] === 'configuration reloaded').length;

  it('takes a changed file by itself, and again on SIGHUP; tokens stay good', async () => {
    const { accessToken } = await signIn(stack.url, 'alice');
    gateway().reconfigure(only('claude-haiku-4-5'));
    await gateway().until(() => reloads() === 1);
    expect((await models(accessToken)).every((id) => id.includes('haiku-4-5'))).toBe(true);
    gateway().reconfigure(only('claude-opus-4-8'));
    await gateway().until(() => reloads() === 2);
    expect(await models(accessToken)).toContain('claude-opus-4-8');
    gateway().signal('SIGHUP');
    await gateway().until(() => reloads() === 3);
  });

  it('keeps the old configuration when the new one is broken, and says so', async () => {
    const { accessToken } = await signIn(stack.url, 'alice');
    const before = await models(accessToken);
    gateway().reconfigure('listen: [this is not');
    await gateway().until((line) => line['evt'] === 'config.reject');
    expect(await models(accessToken)).toEqual(before);
    gateway().reconfigure(stack.document());
    await gateway().until(() => reloads() === 4);
  });

  it('takes over a password of the database that changes, without a restart', async () => {
    const document = stack.document();
    const before = reloads();
    const { hostname, port, pathname } = new URL(
      (document['store'] as { postgres_url: string }).postgres_url,
    );
    const sql = async (text: string): Promise<void> => {
      const client = new pg.Client({ connectionString: stack.postgres.url });
      await client.connect();
      await client.query(text).finally(() => client.end());
    };
    await sql(`CREATE ROLE rotated LOGIN SUPERUSER PASSWORD 'one'`);
    const password = join(directory, 'database-password');
    writeFileSync(password, 'one');
    const store = {
      postgres_url: `postgres://rotated@${hostname}:${port}${pathname}`,
      password: `\${file:${password}}`,
    };
    gateway().reconfigure({ ...document, store });
    await gateway().until(() => reloads() === before + 1);
    // Who is connected stays so; who comes now needs the new one.
    await sql(`ALTER ROLE rotated PASSWORD 'two'`);
    writeFileSync(password, 'two');
    await gateway().until(() => reloads() === before + 2);
    await sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'claude-gateway'`,
    );
    await signIn(stack.url, 'alice');
    const waiting = gateway().lines.filter(({ msg }) => String(msg).includes('only after a restart'));
    expect(waiting).toEqual([]);
    gateway().reconfigure(document);
    await gateway().until(() => reloads() === before + 3);
  }, 60_000);

  it('takes a file that comes later than the configuration that names it', async () => {
    const document = stack.document();
    const late = join(directory, 'api-key');
    const [upstream] = document['upstreams'] as object[];
    const auth = { api_key: `\${file:${late}}` };
    gateway().reconfigure({ ...document, upstreams: [{ ...upstream, auth }] });
    await gateway().until((line) => line['evt'] === 'config.reject' && JSON.stringify(line).includes(late));
    const before = reloads();
    writeFileSync(late, 'sk-ant-late');
    await gateway().until(() => reloads() === before + 1);
    gateway().reconfigure(document);
    await gateway().until(() => reloads() === before + 2);
  });

  it('refuses a broken configuration once, also when a file that it no longer comes to has changed', async () => {
    const document = stack.document();
    const key = join(directory, 'rotated-api-key');
    writeFileSync(key, 'sk-ant-one');
    const [upstream] = document['upstreams'] as object[];
    const before = reloads();
    gateway().reconfigure({
      ...document,
      upstreams: [{ ...upstream, auth: { api_key: `\${file:${key}}` } }],
    });
    await gateway().until(() => reloads() === before + 1);
    const refused = (): number => gateway().lines.filter((line) => line['evt'] === 'config.reject').length;
    const refusedBefore = refused();
    gateway().reconfigure('listen: [this is not');
    writeFileSync(key, 'sk-ant-two');
    await gateway().until(() => refused() > refusedBefore);
    await sleep(2_000);
    // Both changes may come in one notice or in two.
    expect(refused() - refusedBefore).toBeLessThanOrEqual(2);
    gateway().reconfigure(document);
    await gateway().until(() => reloads() === before + 2);
  });

  it('names what needs a restart', async () => {
    const document = stack.document();
    gateway().reconfigure({ ...document, listen: { ...document.listen, port: 1 } });
    await gateway().until(
      (line) => String(line['msg']).includes('restart') && JSON.stringify(line).includes('listen.port'),
    );
    gateway().reconfigure(document);
  });
});
