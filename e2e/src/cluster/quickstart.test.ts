import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { findKubeProgram, startMessagesUpstream, type MessagesUpstream } from '@claude-gateway/dev';
import type { Browser } from 'playwright-core';
import { parseAllDocuments } from 'yaml';
import { CHART, helms } from '../chart/helm.ts';
import { startTcpProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { openBrowser } from '../testbed/browser.ts';
import { ClaudeCode } from '../testbed/claude-code.ts';
import { logIn, type Person } from '../testbed/log-in.ts';
import { clusterName, startCluster, type Cluster } from './cluster.ts';
import { execute } from './execute.ts';
import { describeWithCluster } from './requirements.ts';
import { Shell } from './shell.ts';

const ROOT = join(import.meta.dirname, '../../..');
const IMAGE = process.env['CLAUDE_GATEWAY_IMAGE'] ?? '';
const NAMESPACE = 'claude';
const NAME = 'try-claude-gateway-quickstart';
const URL = 'http://localhost:8080';
const EMAIL = 'developer@example.com';

const README = readFileSync(join(CHART, 'README.md'), 'utf8');

/** The commands of the first block of code in a section of the chart's README. */
function commandsOf(section: string): string[] {
  const [, block = ''] = new RegExp(`\\n## ${section}[^]*?\`\`\`sh\\n([^]*?)\`\`\``).exec(README) ?? [];
  return block.trim().split('\n');
}

/** The commands that helm's notes tell people to run. */
function commandsIn(output: string): string[] {
  const [, notes = ''] = output.split('\nNOTES:\n');
  return [...notes.matchAll(/^ {2}(\S.*)$/gm)].map(([, command = '']) => command);
}

/** The chart goes by several names in documents; here is where it is. */
const placed = (command: string): string =>
  command.replaceAll(/THE-CHART|\bcharts\/claude-gateway(?=\s)/g, CHART);

/** Sees to the images that the chart names. Whoever brings a cluster of their own has it pull them. */
async function quickstartImages(): Promise<string[]> {
  if (clusterName(process.env) === 'current') return [];
  const script = join(ROOT, 'hack/cluster/quickstart-images.sh');
  const printed = await execute(script, [], '', { ...process.env, NODE: process.execPath });
  return printed.trim().split('\n');
}

/** Waits until it is so, or fails with the difference. */
async function becomes(now: () => Promise<unknown>, expected: unknown): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(200)) {
    if (isDeepStrictEqual(await now(), expected)) return;
  }
  expect(await now()).toEqual(expected);
}

describeWithCluster()('the quick start, as the documents tell people to run it', () => {
  let cluster: Cluster;
  let shell: Shell;
  let browser: Browser;
  let machine: ClaudeCode;
  let upstream: MessagesUpstream;
  let path: TcpProxy;
  const directory = mkdtempSync(join(tmpdir(), 'quickstart-'));
  const values = join(directory, 'values.yaml');

  beforeAll(async () => {
    const images = await quickstartImages();
    cluster = await startCluster();
    for (const image of [IMAGE, ...images]) await cluster.loadImage(image);
    // Each answer costs two cents.
    upstream = await startMessagesUpstream({ tokens: 4_000 });
    path = await startTcpProxy(Number(new globalThis.URL(upstream.url).port), { at: cluster.machine });
    const [, repository, tag] = /^(.+):([^:/]+)$/.exec(IMAGE) ?? [];
    const anthropic = {
      baseURL: `http://${cluster.machine}:${path.port}`,
      apiKeySecretRef: { name: `${NAME}-anthropic`, key: 'api-key' },
    };
    writeFileSync(
      values,
      JSON.stringify({
        image: { repository, tag },
        quickstart: { spec: { upstreams: [{ name: 'anthropic', anthropic }] } },
      }),
    );
    const programs = [helms()[0]?.[1], findKubeProgram('kubectl')].filter((found) => found !== undefined);
    shell = new Shell(cluster.kubeconfig, programs, { ANTHROPIC_API_KEY: 'sk-ant-of-the-quick-start' });
    machine = new ClaudeCode(URL, 'user settings');
    browser = await openBrowser();
    const namespace = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    };
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(namespace));
  }, 300_000);

  afterAll(async () => {
    shell?.dispose();
    machine?.dispose();
    rmSync(directory, { recursive: true, force: true });
    await browser?.close();
    await path?.stop();
    await upstream?.stop();
    await cluster?.stop();
  }, 120_000);

  const kubectl = (...args: string[]): Promise<string> => cluster.kubectl(['-n', NAMESPACE, ...args]);

  async function waitFor(what: string, condition: string): Promise<void> {
    try {
      await kubectl('wait', what, `--for=${condition}`, '--timeout=120s');
    } catch (error) {
      const seen = [
        'get pods,pvc,events',
        `describe ${what}`,
        'logs statefulset/try-claude-gateway-quickstart-postgres',
      ];
      const said = await Promise.all(seen.map((command) => kubectl(...command.split(' ')).catch(String)));
      throw new Error([(error as Error).message, ...said].join('\n\n'), { cause: error });
    }
  }

  const waitForGateway = (): Promise<void> => waitFor('claudegateway/quickstart', 'condition=Ready');

  /** The first of the examples, with a limit of this much. @returns when it holds. */
  async function limit(usd: string): Promise<void> {
    const example = readFileSync(join(ROOT, 'examples/spend-policies.yaml'), 'utf8');
    const policy = parseAllDocuments(example)[0]?.toJS() as { spec: { limits: object[] } };
    policy.spec.limits = [{ period: 'Daily', usd }];
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(policy));
    const generation = await kubectl('get', 'spol/everybody', '-o', 'jsonpath={.metadata.generation}');
    const observed = `{.status.conditions[?(@.type=="Enforced")].observedGeneration}`;
    await waitFor('spol/everybody', `jsonpath=${observed}=${generation}`);
    await waitFor('spol/everybody', 'condition=Enforced');
  }

  const ask = () => machine.print('say hello', ['--model', 'claude-haiku-4-5']);

  const secret = async (): Promise<unknown> => {
    const { data } = JSON.parse(await kubectl('get', 'secret', NAME, '-o', 'json')) as { data: unknown };
    return data;
  };

  it('is installed, and made complete by the commands that helm prints', async () => {
    const [install = '', ...others] = commandsOf('Quick start');
    const installed = await shell.run(`${placed(install)} -f ${values}`);
    // What is printed for the end has its turn there.
    const commands = commandsIn(installed).filter((command) => !/^kubectl\b.* delete /.test(command));
    expect(commands.map(placed)).toEqual(expect.arrayContaining(others.map(placed)));

    let password = '';
    let upgraded = '';
    for (const command of commands) {
      if (command.includes('port-forward')) {
        await shell.start(command, /Forwarding from 127\.0\.0\.1:5556/);
      } else {
        const output = await shell.run(placed(command));
        if (command.startsWith('helm upgrade')) upgraded = output;
        if (command.includes('get secret')) password = output;
      }
    }
    // The second time nothing is left to be done first.
    expect(upgraded).not.toContain('ONE MORE COMMAND');
    expect(commandsIn(installed)).toEqual(expect.arrayContaining(commandsIn(upgraded)));
    expect(installed).toContain(`sign in with Claude Code at ${URL}, as ${EMAIL} with that password`);

    const person: Person = {
      email: EMAIL,
      async identify(page) {
        await page.locator('input[name=login]').fill(EMAIL);
        await page.locator('input[name=password]').fill(`not ${password}`);
        await page.locator('button[type=submit]').click();
        await page.locator('#login-error').waitFor();
        await page.locator('input[name=password]').fill(password);
        await page.locator('button[type=submit]').click();
      },
    };
    const site = { url: URL, identityProvider: { issuer: 'http://127.0.0.1:5556' } };
    const terminal = await logIn(machine, person, { site, browser });
    terminal.stop();
    expect(await ask()).toMatchObject({ code: 0, result: { is_error: false } });
    expect(upstream.requests().at(-1)?.headers['x-api-key']).toBe('sk-ant-of-the-quick-start');
  }, 400_000);

  it('enforces a policy, and still does when its database comes back', async () => {
    await limit('0.01');
    const refused = { code: 1, result: { is_error: true } };
    const first = await ask();
    expect(first).toMatchObject(refused);
    expect(first.result?.result).toMatch(/spend limit reached/);

    const pod = `pod/${NAME}-postgres-0`;
    const uid = () => kubectl('get', pod, '-o', 'jsonpath={.metadata.uid}');
    const before = await uid();
    await kubectl('delete', pod);
    await waitFor(pod, 'condition=Ready');
    expect(await uid()).not.toBe(before);
    await waitForGateway();
    // What was spent is in the database, and nowhere else.
    const second = await ask();
    expect(second).toMatchObject(refused);
    expect(second.result?.result).toMatch(/spend limit reached/);
    await limit('50.00');
    expect(await ask()).toMatchObject({ code: 0, result: { is_error: false } });
  }, 400_000);

  it('keeps passwords and pods when it is upgraded', async () => {
    const pods = () => kubectl('get', 'pods', '-o', 'jsonpath={range .items[*]}{.metadata.uid} {end}');
    const [kept, running] = [await secret(), await pods()];
    const [upgrade = ''] = commandsOf('Upgrade');
    await shell.run(placed(upgrade).replace('helm upgrade claude-gateway', 'helm upgrade try'));
    expect(await secret()).toEqual(kept);
    await waitForGateway();
    expect(await pods()).toBe(running);
    expect(await ask()).toMatchObject({ code: 0 });
  }, 200_000);

  it('leaves what the documents say when it is uninstalled', async () => {
    const [remove = '', uninstall = '', removeKinds = ''] = commandsOf('Uninstall');
    await shell.run(remove);
    await shell.run(uninstall.replace('claude-gateway', 'try'));
    const resources = await kubectl('api-resources', '--namespaced', '--verbs=list', '-o', 'name');
    const kinds = resources.split('\n').filter((name) => name !== '' && !/^events|metrics/.test(name));
    const left = async (): Promise<string[]> =>
      (await kubectl('get', kinds.join(), '-o', 'name')).trim().split('\n').sort();
    // Kubernetes makes the first and the last, and the person made the secret.
    const others = ['configmap/kube-root-ca.crt', `secret/${NAME}-anthropic`, 'serviceaccount/default'];
    const said = [
      'lease.coordination.k8s.io/claudegateway-namespace',
      'lease.coordination.k8s.io/try-claude-gateway-operator',
      `persistentvolumeclaim/data-${NAME}-postgres-0`,
      `secret/${NAME}`,
    ];
    await becomes(left, [...others, ...said].sort());
    for (const [, command = ''] of README.matchAll(/`(kubectl -n claude delete [^`]*)`/g))
      await shell.run(command.replace(' claude-gateway-operator', ' try-claude-gateway-operator'));
    await becomes(left, others);
    await shell.run(removeKinds.replace(/#.*/, ''));
    expect(await cluster.kubectl(['get', 'crd', '-o', 'name'])).not.toContain('claudegateway.dev');
    await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--timeout=120s']);
  }, 200_000);
});
