import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { startStack, type Stack } from './harness/stack.ts';
import { claudeCodeBinary } from './testbed/claude-code.ts';

const PAGE = readFileSync(resolve(import.meta.dirname, '../../docs/ci.md'), 'utf8');
const HAS_JQ = ['jq', 'curl'].every((program) => {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

interface Entry {
  readonly name: string;
  readonly issuer: string;
}

/** The YAML of the page, in its order. */
const [GATEWAY = '', GITHUB = '', GITLAB = '', KUBERNETES = ''] = [
  ...PAGE.matchAll(/```yaml\n(.*?)```/gs),
].map(([, text = '']) => text);

/** What each platform puts into its tokens, as its documentation has it. */
const CLAIMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  github: { sub: 'repo:corp/web:pull_request', repository: 'corp/web', repository_owner: 'corp' },
  gitlab: { sub: 'project_path:corp/web:ref_type:branch:ref:main', project_path: 'corp/web' },
  kubernetes: { sub: 'system:serviceaccount:builds:claude' },
};

/** The jobs of docs/ci.md, as they are, with the real client. Only what a platform provides is played. */
(HAS_JQ ? describe : describe.skip)('the jobs of docs/ci.md', () => {
  let stack: Stack;
  let issuer: Server;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  let issuerUrl: string;
  const home = mkdtempSync(join(tmpdir(), 'ci-jobs-'));

  /** A JWT (RS256). Whoever asks with another audience than the page says gets one that the gateway refuses. */
  const token = (platform: string, audience: string): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      ...CLAIMS[platform],
      iss: `${issuerUrl}/${platform}`,
      aud: audience,
      iat: now,
      exp: now + 300,
    };
    const signed = [{ alg: 'RS256', kid: 'k' }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
  };

  beforeAll(async () => {
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256', use: 'sig' };
    issuer = createServer((request, response) => {
      const url = new URL(request.url ?? '/', issuerUrl);
      const answer = (): object => {
        if (url.pathname === '/keys') return { keys: [jwk] };
        if (url.pathname !== '/github-token')
          return { issuer: `${issuerUrl}/${url.pathname.split('/')[1]}`, jwks_uri: `${issuerUrl}/keys` };
        const allowed = request.headers.authorization === 'bearer request-token';
        return allowed ? { value: token('github', url.searchParams.get('audience') ?? '') } : {};
      };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(answer()));
    });
    await new Promise<void>((done) => issuer.listen(0, '127.0.0.1', done));
    issuerUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    const { workload_identity: entries } = parse(GATEWAY) as { workload_identity: Entry[] };
    stack = await startStack({
      config: {
        managed: { policies: [{ match: { groups: ['ci'] }, cli: { permissions: { deny: ['Bash'] } } }] },
        workload_identity: entries.map((entry) => ({ ...entry, issuer: `${issuerUrl}/${entry.name}` })),
      },
    });
    mkdirSync(join(home, 'bin'));
    symlinkSync(claudeCodeBinary(), join(home, 'bin', 'claude'));
  }, 180_000);

  afterAll(async () => {
    await stack?.stop();
    issuer?.closeAllConnections();
    issuer?.close();
    rmSync(home, { recursive: true, force: true });
  }, 60_000);

  /** @returns what the job writes. */
  async function run(shell: readonly string[], script: string, env: Record<string, string>): Promise<string> {
    const [command = '', ...options] = shell;
    const ran = promisify(execFile)(command, [...options, script], {
      cwd: home,
      timeout: 120_000,
      env: {
        PATH: `${join(home, 'bin')}:${process.env['PATH']}`,
        HOME: home,
        DISABLE_AUTOUPDATER: '1',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        ANTHROPIC_BASE_URL: stack.url,
        ...env,
      },
    });
    ran.child.stdin?.end();
    return (await ran).stdout;
  }

  /** The tools that the model is offered; those that managed settings deny are not among them. */
  function offered(seen = 0): string[] {
    const tools = stack.upstream
      .requests()
      .slice(seen)
      .flatMap(({ json }) => (json as { tools?: { name: string }[] })?.tools ?? []);
    return tools.map(({ name }) => name);
  }

  function expectAnswer(written: string): void {
    expect(written).toContain('Review the changes of this branch.');
    expect(offered()).toContain('Read');
    expect(offered()).not.toContain('Bash');
  }

  it('GitHub Actions', async () => {
    const workflow = parse(GITHUB) as { jobs: { review: { steps: { name?: string; run?: string }[] } } };
    const script = workflow.jobs.review.steps.find(({ name }) => name === 'Review')?.run ?? '';
    const env = {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${issuerUrl}/github-token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-token',
      RUNNER_TEMP: home,
    };
    const shell = ['bash', '--noprofile', '--norc', '-eo', 'pipefail', '-c'];
    expectAnswer(await run(shell, script, env));
    // A refusal ends the job, with the gateway's sentence.
    const elsewhere = script.replace('audience=claude-gateway', 'audience=elsewhere');
    await expect(run(shell, elsewhere, env)).rejects.toThrow(/jq: error.*: \S+ \S+/s);
  }, 180_000);

  it('GitLab', async () => {
    const { review } = parse(GITLAB) as {
      review: { script: string[]; id_tokens: { GATEWAY_ID_TOKEN: { aud: string } } };
    };
    const env = { GATEWAY_ID_TOKEN: token('gitlab', review.id_tokens.GATEWAY_ID_TOKEN.aud) };
    expectAnswer(await run(['bash', '-eo', 'pipefail', '-c'], review.script.join('\n'), env));
  }, 180_000);

  it('Kubernetes', async () => {
    const job = parseAllDocuments(KUBERNETES)[1]?.toJS() as {
      spec: {
        template: {
          spec: {
            containers: { command: string[] }[];
            volumes: { projected: { sources: { serviceAccountToken: { audience: string } }[] } }[];
          };
        };
      };
    };
    const { containers, volumes } = job.spec.template.spec;
    const audience = volumes[0]?.projected.sources[0]?.serviceAccountToken.audience ?? '';
    const file = join(home, 'token');
    writeFileSync(file, token('kubernetes', audience));
    const command = containers[0]?.command ?? [];
    expectAnswer(await run(command.slice(0, -1), command.at(-1) ?? '', { GATEWAY_ID_TOKEN_FILE: file }));
  }, 180_000);

  it('need --settings: with the two variables alone the client never asks for managed settings', async () => {
    const GATEWAY_ID_TOKEN = token('gitlab', 'claude-gateway');
    const seen = stack.upstream.requests().length;
    const { review } = parse(GITLAB) as { review: { script: string[] } };
    const bare = review.script.join('\n').replace('--settings "$settings"', '');
    await run(['bash', '-eo', 'pipefail', '-c'], bare, { GATEWAY_ID_TOKEN });
    expect(offered(seen)).toContain('Bash');
  }, 180_000);
});
