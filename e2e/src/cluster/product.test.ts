import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { CHART, Helm, helms } from '../chart/helm.ts';
import { mintBearer } from '../harness/bearer.ts';
import { chromiumBinary, openBrowser } from '../testbed/browser.ts';
import { ClaudeCode } from '../testbed/claude-code.ts';
import { logIn } from '../testbed/log-in.ts';
import { startCluster, type Cluster } from './cluster.ts';
import { describeWithCluster } from './requirements.ts';
import { CLIENT, startSite, type Site } from './site.ts';
import { broken, stream, Streams } from './streams.ts';

const IMAGE = process.env['CLAUDE_GATEWAY_IMAGE'] ?? '';
const NAMESPACE = 'claude';
const ARTIFACTS = join(import.meta.dirname, '../../artifacts');
const RELEASE = ['claude-gateway', CHART, '--namespace', NAMESPACE];

/** The repository, whose registry may have a port, and the tag. */
function parts(image: string): [repository: string, tag: string] {
  const [, repository = '', tag = ''] = /^(.+):([^:/]+)$/.exec(image) ?? [];
  return [repository, tag];
}

describeWithCluster()('the product, on a whole Kubernetes', () => {
  let cluster: Cluster;
  let site: Site;
  let helm: Helm;
  let streams: Streams | undefined;
  let ingress: { readonly ingress: { readonly className: string } };
  let bearer = '';

  beforeAll(async () => {
    cluster = await startCluster();
    await cluster.loadImage(IMAGE);
    ingress = { ingress: { className: (await cluster.ingress()).ingressClass } };
    site = await startSite(cluster);
    const [, program] = helms()[0] ?? [];
    helm = new Helm(program ?? 'helm');
    await apply({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    });
  }, 300_000);

  afterAll(async () => {
    await streams?.stop();
    helm?.dispose();
    await site?.stop();
    await cluster?.stop();
  }, 120_000);

  const kubectl = (...args: string[]): Promise<string> => cluster.kubectl(['-n', NAMESPACE, ...args]);

  async function apply(...items: object[]): Promise<void> {
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  }

  const secret = (name: string, stringData: Readonly<Record<string, string>>) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: NAMESPACE },
    stringData,
  });

  const resource = (kind: string, name: string, spec: object) => ({
    apiVersion: 'claudegateway.dev/v1alpha1',
    kind,
    metadata: { name, namespace: NAMESPACE },
    spec,
  });

  function gateway(published: object, more: object = {}) {
    return resource('ClaudeGateway', 'main', {
      publicURL: site.url,
      replicas: 3,
      ...published,
      database: { urlSecretRef: { name: 'database', key: 'url' } },
      identityProviders: [
        {
          name: 'default',
          issuer: site.identityProvider.issuer,
          clientID: CLIENT.id,
          clientSecretRef: { name: 'oidc', key: 'secret' },
          scopes: ['openid', 'profile', 'email', 'offline_access', 'groups'],
        },
      ],
      upstreams: [
        {
          name: 'anthropic',
          anthropic: { baseURL: site.upstreamUrl, apiKeySecretRef: { name: 'anthropic', key: 'key' } },
        },
      ],
      podTemplate: {
        spec: { containers: [{ name: 'gateway', resources: { requests: { cpu: '50m', memory: '64Mi' } } }] },
      },
      ...more,
    });
  }

  const policy = (usd: string) =>
    resource('SpendPolicy', 'everybody', {
      subject: { kind: 'Organization' },
      limits: [{ period: 'Daily', usd }],
    });

  /** Names of the gateway's pods, without those that are on their way out: these still count as running. */
  async function lastingPods(): Promise<string[]> {
    const found = await kubectl('get', 'pods', '-l', 'app.kubernetes.io/component=gateway', '-o', 'json');
    const { items } = JSON.parse(found) as {
      items: { metadata: { name: string; deletionTimestamp?: string } }[];
    };
    return items.flatMap(({ metadata: { name, deletionTimestamp } }) =>
      deletionTimestamp === undefined ? [name] : [],
    );
  }

  async function waitFor(what: string, condition: string, within = '150s'): Promise<void> {
    try {
      await kubectl('wait', what, `--for=${condition}`, `--timeout=${within}`);
    } catch (error) {
      const pods = await kubectl('get', 'pods', '-o', 'wide').catch(String);
      const described = await kubectl('describe', what).catch(String);
      const logs = await kubectl(
        'logs',
        '-l',
        'app.kubernetes.io/name=claude-gateway',
        '--tail=30',
        '--prefix',
      ).catch(String);
      throw new Error([(error as Error).message, pods, described, logs].join('\n\n'), { cause: error });
    }
  }

  /** Envoy hears of a route some moments after the API server. */
  async function answers(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const status = await fetch(`${site.url}/readyz`).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) return;
      if (tries > 300) throw new Error(`${site.url} does not answer: ${status}`);
      await sleep(100);
    }
  }

  it('is installed by helm, and serves behind an Ingress under the restricted pod security standard', async () => {
    const [repository, tag] = parts(IMAGE);
    const installed = await helm.run(
      [
        'install',
        ...RELEASE,
        '--set',
        `image.repository=${repository}`,
        '--set',
        `image.tag=${tag}`,
        '--wait',
        '--timeout',
        '120s',
      ],
      cluster.kubeconfig,
    );
    expect(installed).toMatchObject({ code: 0 });
    await apply(
      secret('database', { url: site.databaseUrl }),
      secret('oidc', { secret: CLIENT.secret }),
      secret('anthropic', { key: 'sk-ant-upstream-credential' }),
      gateway(ingress),
      policy('100.00'),
      resource('ManagedSettings', 'everybody', { settings: { permissions: { deny: ['WebFetch'] } } }),
    );
    await waitFor('claudegateway/main', 'condition=Ready');
    await waitFor('spendpolicy/everybody', 'condition=Enforced');
    await waitFor('managedsettings/everybody', 'condition=Delivered');
    process.stderr.write(
      await kubectl('get', 'claudegateways,spendpolicies,managedsettings,deployments,pods'),
    );
    await answers();
    const keys = JSON.parse(await kubectl('get', 'secret', 'main-signing-keys', '-o', 'json')) as {
      data: Record<string, string>;
    };
    bearer = mintBearer(
      { sub: 'alice', email: 'alice@corp.example', groups: ['eng'] },
      {
        secret: Buffer.from(Object.values(keys.data)[0] ?? '', 'base64').toString(),
        issuer: site.url,
        program: 'ours',
      },
    );
  }, 400_000);

  it('streams through Envoy without anybody buffering', async () => {
    const outcome = await stream(site.url, bearer);
    expect(outcome).toMatchObject({ status: 200, complete: true });
    // 350 tokens, 50 ms apart: had somebody gathered them, they would have come at once.
    expect(outcome.pieces).toBeGreaterThan(50);
    expect(outcome.lasted).toBeGreaterThan(15_000);
  }, 60_000);

  it('enforces an edited policy on every pod, and says when', async () => {
    const measured: number[] = [];
    for (let i = 1; i <= 20; i++) {
      await apply(policy(`${100 + i}.00`));
      const applied = performance.now();
      const generation = Number(
        await kubectl('get', 'spendpolicy/everybody', '-o', 'jsonpath={.metadata.generation}'),
      );
      await waitFor(
        'spendpolicy/everybody',
        `jsonpath={.status.conditions[?(@.type=="Enforced")].observedGeneration}=${generation}`,
        '30s',
      );
      await waitFor('spendpolicy/everybody', 'condition=Enforced', '30s');
      measured.push(performance.now() - applied);
    }
    const sorted = measured.toSorted((a, b) => a - b).map(Math.round);
    process.stderr.write(
      `apply to Enforced on 3 pods, with three calls of kubectl, ms: ${sorted.join(' ')}\n`,
    );
    expect(measured).toHaveLength(20);
  }, 300_000);

  /** As `kubectl drain` does: asks again while the budget, which follows the pods a moment later, allows none. */
  async function evict(pod: string): Promise<void> {
    const eviction = {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: pod, namespace: NAMESPACE },
    };
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${pod}/eviction`;
    for (let tries = 1; ; tries++) {
      try {
        await cluster.kubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
        return;
      } catch (error) {
        if (tries === 30 || !(error as Error).message.includes('TooManyRequests')) throw error;
        await sleep(1_000);
      }
    }
  }

  it('cuts no stream when the number of pods changes, pods are deleted and evicted, and an image is rolled out', async () => {
    streams = new Streams(site.url, bearer, 200);
    await sleep(5_000);
    await kubectl('patch', 'claudegateway', 'main', '--type=merge', '-p', '{"spec":{"replicas":4}}');
    await waitFor('deployment/main', 'jsonpath={.status.readyReplicas}=4');
    await kubectl('patch', 'claudegateway', 'main', '--type=merge', '-p', '{"spec":{"replicas":3}}');

    await waitFor('deployment/main', 'jsonpath={.status.replicas}=3');
    const [first = '', second = ''] = await lastingPods();
    await kubectl('delete', 'pod', first, '--wait=false');
    await waitFor('deployment/main', 'jsonpath={.status.readyReplicas}=3');
    await evict(second);
    await waitFor('deployment/main', 'jsonpath={.status.readyReplicas}=3');

    const [repository] = parts(IMAGE);
    spawnSync(process.env['DOCKER'] ?? 'docker', ['tag', IMAGE, `${repository}:next`]);
    await cluster.loadImage(`${repository}:next`);
    await kubectl(
      'patch',
      'claudegateway',
      'main',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { image: { tag: 'next' } } }),
    );
    await kubectl('rollout', 'status', 'deployment/main', '--timeout=180s');
    const outcomes = await streams.stop();
    process.stderr.write(`${outcomes.length} streams, ${broken(outcomes).length} broken\n`);
    expect(broken(outcomes)).toEqual([]);
    expect(outcomes.length).toBeGreaterThan(200);
  }, 600_000);

  it('answers in kubectl what people ask, and explains', async () => {
    const spent = 'jsonpath={.status.nearest.spent}';
    for (
      let tries = 0;
      (await kubectl('get', 'spendpolicy/everybody', '-o', spent)) === '0.00 USD';
      tries++
    ) {
      if (tries > 60) throw new Error('what was spent does not show');
      await sleep(1_000);
    }
    const shown: string[] = [];
    const show = async (...args: string[]): Promise<string> => {
      const text = await kubectl(...args);
      shown.push(`$ kubectl -n ${NAMESPACE} ${args.join(' ')}`, text);
      return text;
    };
    expect(await show('get', 'claudegateways')).toMatch(/main +3 +3 +http:\/\/localhost:\d+ +\d+\.\d+\.\d+ /);
    expect(await show('get', 'spendpolicies')).toMatch(
      /everybody +Organization +120\.00 USD daily +\d+\.\d+ USD +\d+ +\S+Z +True/,
    );
    expect(await show('get', 'managedsettings')).toMatch(/everybody .*True/);
    expect(await show('describe', 'claudegateway', 'main')).toContain('3 of 3');
    expect(await show('describe', 'spendpolicy', 'everybody')).toMatch(/Enforced/);
    await show('describe', 'managedsettings', 'everybody');
    expect(await show('explain', 'spendpolicy.spec.limits')).toContain('usd');
    mkdirSync(ARTIFACTS, { recursive: true });
    writeFileSync(join(ARTIFACTS, 'kubectl.txt'), shown.join('\n'));
  }, 180_000);

  it('takes over another upstream credential by itself', async () => {
    await apply(secret('anthropic', { key: 'sk-ant-another-credential' }));
    for (let tries = 0; ; tries++) {
      await stream(site.url, bearer);
      const seen = site.upstream.requests().at(-1)?.headers['x-api-key'];
      if (seen === 'sk-ant-another-credential') break;
      if (tries > 20)
        throw new Error(`the upstream still gets ${seen === undefined ? 'none' : 'the old credential'}`);
    }
  }, 400_000);

  it('signs the real Claude Code in, and answers it, through an Ingress and through an HTTPRoute', async () => {
    if (chromiumBinary() === undefined) throw new Error('chromium was not found');
    const browser: Browser = await openBrowser();
    const { gateway: parent } = await cluster.ingress();
    try {
      for (const published of [ingress, { httpRoute: { parentRefs: [parent] } }]) {
        await apply(gateway(published, { image: { tag: 'next' } }));
        await waitFor('claudegateway/main', 'condition=Ready');
        await answers();
        const machine = new ClaudeCode(site.url, 'user settings');
        try {
          const terminal = await logIn(machine, 'alice', { site, browser });
          terminal.stop();
          expect(await machine.print('say hello', ['--model', 'claude-haiku-4-5'])).toMatchObject({
            code: 0,
            result: { is_error: false },
          });
        } finally {
          machine.dispose();
        }
      }
    } finally {
      await browser.close();
    }
  }, 400_000);

  it('leaves nothing behind', async () => {
    await kubectl('delete', 'spendpolicies,managedsettings,claudegateways', '--all', '--timeout=120s');
    const left =
      'deployments,services,ingresses,configmaps,secrets,networkpolicies,poddisruptionbudgets,serviceaccounts';
    const ours = ['-l', 'app.kubernetes.io/managed-by=claude-gateway-operator'];
    for (let tries = 0; tries < 100; tries++) {
      if ((await kubectl('get', left, ...ours, '-o', 'name')) === '') break;
      await sleep(200);
    }
    expect(await kubectl('get', left, ...ours, '-o', 'name')).toBe('');
    const uninstalled = await helm.run(
      ['uninstall', 'claude-gateway', '--namespace', NAMESPACE, '--wait'],
      cluster.kubeconfig,
    );
    expect(uninstalled).toMatchObject({ code: 0 });
    // The chart keeps the definitions; the next test may meet the same cluster.
    const definitions = (await cluster.kubectl(['get', 'crd', '-o', 'name']))
      .split('\n')
      .filter((name) => name.endsWith('.claudegateway.dev'));
    expect(definitions).toHaveLength(3);
    await cluster.kubectl(['delete', ...definitions, '--timeout=60s']);
    await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--timeout=120s']);
  }, 400_000);
});
