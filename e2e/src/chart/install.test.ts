import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { TestApiServer } from '../testbed/api-server.ts';
import { answers, discover, foreignDefinition, makeNamespace, pathOf, type ApiResource } from './cluster.ts';
import { CHART, describeWithHelm, type HelmAnswer, type Manifest } from './helm.ts';

const testdata = fileURLToPath(new URL('../../../charts/testdata/', import.meta.url));
const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const KINDS = '/apis/claudegateway.dev/v1alpha1/namespaces/claude';
const GATEWAY = `${KINDS}/claudegateways/quickstart`;
const SECRET = '/api/v1/namespaces/claude/secrets/test-claude-gateway-quickstart';
const INSTANCE = 'labelSelector=app.kubernetes.io%2Finstance%3Dtest';

interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: Readonly<Record<string, unknown>>;
}

/** The chart as it was one version ago, when policies had no blockedMessage. */
function chartBefore(directory: string): string {
  const chart = join(directory, 'before');
  cpSync(CHART, chart, { recursive: true });
  const about = join(chart, 'Chart.yaml');
  writeFileSync(about, readFileSync(about, 'utf8').replace(/^version: .*/m, 'version: 0.0.9'));
  const file = join(chart, 'templates', 'crds', 'spendpolicies.yaml');
  const template = readFileSync(file, 'utf8');
  const start = template.indexOf('\nspec:\n');
  const body = parse(template.slice(start).replace('{{- end }}', '')) as {
    spec: {
      versions: {
        schema: { openAPIV3Schema: { properties: { spec: { properties: Record<string, unknown> } } } };
      }[];
    };
  };
  const removed =
    delete body.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties['blockedMessage'];
  if (!removed) throw new Error('there is nothing to remove');
  writeFileSync(file, `${template.slice(0, start)}\n${stringify(body)}{{- end }}\n`);
  return chart;
}

const policy = {
  apiVersion: 'claudegateway.dev/v1alpha1',
  kind: 'SpendPolicy',
  metadata: { name: 'everybody', namespace: 'claude' },
  spec: {
    subject: { kind: 'Organization' },
    limits: [{ period: 'Daily', usd: '50.00' }],
    blockedMessage: 'Ask for more.',
  },
};

describeWithHelm(TestApiServer.PROGRAMS, (helm) => {
  const directory = mkdtempSync(join(tmpdir(), 'chart-'));
  let server: TestApiServer;
  let before: string;

  beforeAll(async () => {
    before = chartBefore(directory);
    server = await TestApiServer.start();
    await makeNamespace(server, 'claude');
  }, 120_000);

  afterAll(async () => {
    await server?.stop();
    helm.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const run = async (...args: readonly string[]): Promise<HelmAnswer> => {
    const answer = await helm.run([...args, '-n', 'claude'], server.kubeconfigFile());
    if (answer.code !== 0) throw new Error(`helm ${args[0]}: ${answer.stderr}`);
    return answer;
  };

  const statusOf = async (path: string): Promise<number> => (await server.call('GET', path)).status;

  const password = async (): Promise<unknown> => (await server.call('GET', SECRET)).body['data'];

  /** What the release still has, in every resource of the namespace and the cluster. */
  async function left(resources: readonly ApiResource[]): Promise<readonly string[]> {
    const plain = resources.filter(({ name }) => !name.includes('/') && !/reviews?$|^bindings$/.test(name));
    const lists = plain.map(async ({ group, version, name, namespaced }) => {
      const root = group === '' ? '/api' : `/apis/${group}`;
      const namespace = namespaced ? '/namespaces/claude' : '';
      const { body } = await server.call('GET', `${root}/${version}${namespace}/${name}?${INSTANCE}`);
      return ((body['items'] ?? []) as Manifest[]).map(({ metadata }) => `${name} ${metadata.name}`);
    });
    return (await Promise.all(lists)).flat();
  }

  it('installs, upgrades changed definitions, rolls back, and leaves nothing but them and the password of the database', async () => {
    const quickstart = ['--set', 'quickstart.enabled=true'];
    const installed = await run('install', 'test', before, ...quickstart);
    expect(installed.stdout).toContain('ONE MORE COMMAND');
    await answers(server, `${KINDS}/claudegateways`);
    await answers(server, `${KINDS}/spendpolicies`);
    expect(await statusOf(GATEWAY)).toBe(404);
    const made = await password();
    expect(Object.keys(made as object).toSorted()).toEqual(
      ['client-secret', 'database-url', 'password', 'password-hash', 'postgres-password'],
    ); // prettier-ignore

    const second = await run('upgrade', 'test', before, '--reuse-values');
    expect(second.stdout).not.toContain('ONE MORE COMMAND');
    const { body: gateway } = await server.call('GET', GATEWAY);
    expect(gateway['spec']).toMatchObject({ publicURL: 'http://localhost:8080', listen: { port: 8080 } });
    expect(await password()).toEqual(made);
    const refused = await server.apply(`${KINDS}/spendpolicies/everybody`, policy);
    expect(refused.body['message']).toContain('blockedMessage');

    await run('upgrade', 'test', CHART, '--reuse-values');
    await eventuallyAccepts(true);
    expect((await server.apply(`${KINDS}/spendpolicies/everybody`, policy)).status).toBe(201);
    expect(await password()).toEqual(made);

    await run('rollback', 'test', '2');
    await eventuallyAccepts(false);
    expect(await statusOf(GATEWAY)).toBe(200);
    expect(await statusOf(`${KINDS}/spendpolicies/everybody`)).toBe(200);

    const resources = await discover(server);
    expect((await left(resources)).length).toBeGreaterThan(10);
    await run('uninstall', 'test');
    expect(await left(resources)).toEqual(['secrets test-claude-gateway-quickstart']);
    expect(await statusOf(GATEWAY)).toBe(404);
    expect(await statusOf(`${KINDS}/spendpolicies/everybody`)).toBe(200);
    // Resources of a definition that is going away answer for a while.
    for (const plural of ['claudegateways', 'managedsettings', 'spendpolicies']) {
      const { status, body } = await server.call('GET', `${DEFINITIONS}/${plural}.claudegateway.dev`);
      expect({ status, going: (body['metadata'] as Record<string, unknown>)['deletionTimestamp'] }).toEqual({
        status: 200,
        going: undefined,
      });
    }

    // The volume of the database is there, too, and has the former password.
    await run('install', 'test', CHART, ...quickstart);
    expect(await password()).toEqual(made);
    await run('uninstall', 'test');
    await server.call('DELETE', SECRET);
    const claim = {
      metadata: { name: 'data-test-claude-gateway-quickstart-postgres-0' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    expect(
      (await server.call('POST', '/api/v1/namespaces/claude/persistentvolumeclaims', claim)).status,
    ).toBe(201);
    await expect(run('install', 'test', CHART, ...quickstart)).rejects.toThrow(/delete pvc data-test/);
    await run('install', 'test', CHART, ...quickstart, '--set', 'quickstart.postgres.password=former');
    await run('uninstall', 'test');
  }, 300_000);

  /** Whether definitions take `blockedMessage` now, waiting for the API server to notice them. */
  async function eventuallyAccepts(wanted: boolean): Promise<void> {
    const probe = { ...policy, metadata: { ...policy.metadata, name: 'probe' } };
    for (let tries = 0; ; tries++) {
      const { status } = await server.apply(`${KINDS}/spendpolicies/probe`, probe, 'test', '&dryRun=All');
      if ((status === 201) === wanted) return;
      if (tries === 200) throw new Error(`definitions did not change: ${status}`);
      await sleep(100);
    }
  }

  it('finds its definitions again, and makes the gateway at once', async () => {
    const installed = await run('install', 'test', CHART, '--set', 'quickstart.enabled=true');
    expect(installed.stdout).not.toContain('ONE MORE COMMAND');
    expect(await statusOf(GATEWAY)).toBe(200);
    await run('uninstall', 'test');
  }, 120_000);

  it('takes the definitions along when told to, and says so', async () => {
    const { stdout } = await run('install', 'test', CHART, '--set', 'crds.keep=false');
    expect(stdout).toContain('crds.keep is false');
    await run('uninstall', 'test');
    await answers(server, `${DEFINITIONS}/spendpolicies.claudegateway.dev`, 404);
  }, 120_000);

  it('renders nothing that an API server refuses, and no pod that breaks the restricted standard', async () => {
    for (const name of ['team-a', 'team-b']) await makeNamespace(server, name);
    const monitor = foreignDefinition('monitoring.coreos.com', 'v1', 'ServiceMonitor', 'servicemonitors');
    await server.call('POST', DEFINITIONS, monitor);
    await run('install', 'kinds', CHART);
    await answers(server, `${KINDS}/claudegateways`);
    await answers(server, '/apis/monitoring.coreos.com/v1/servicemonitors');
    const resources = await discover(server);
    const refused: string[] = [];
    let pods = 0;
    for (const set of readdirSync(testdata)) {
      for (const manifest of await helm.template(['-f', join(testdata, set, 'values.yaml')])) {
        const named = `${set}: ${manifest.kind} ${manifest.metadata.name}`;
        const path = pathOf(resources, manifest);
        const { status, body } = await server.apply(path, manifest, 'test', '&dryRun=All&force=true');
        if (status >= 300) refused.push(`${named}: ${JSON.stringify(body['message'])}`);
        for (const spec of podsOf(manifest)) {
          pods += 1;
          const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'judged' }, spec };
          const judged = await server.call('POST', '/api/v1/namespaces/claude/pods?dryRun=All', pod);
          if (judged.status !== 201) refused.push(`${named}: ${JSON.stringify(judged.body['message'])}`);
        }
      }
    }
    expect(refused).toEqual([]);
    expect(pods).toBeGreaterThan(readdirSync(testdata).length);
  }, 120_000);

  /** The pods that a workload makes; of a ClaudeGateway, the sidecars that it asks for. */
  function podsOf({ kind, spec }: Manifest): readonly unknown[] {
    if (kind === 'Deployment' || kind === 'StatefulSet') {
      const { template, volumeClaimTemplates = [] } = spec as {
        template: PodTemplate;
        volumeClaimTemplates?: { metadata: { name: string } }[];
      };
      const claimed = volumeClaimTemplates.map(({ metadata: { name } }) => ({ name, emptyDir: {} }));
      const { volumes = [], ...pod } = template.spec as { volumes?: unknown[] };
      return [{ ...pod, volumes: [...volumes, ...claimed] }];
    }
    if (kind !== 'ClaudeGateway') return [];
    const { podTemplate } = spec as { podTemplate?: { spec: { containers: { name: string }[] } } };
    if (podTemplate === undefined) return [];
    const containers = podTemplate.spec.containers.filter(({ name }) => name !== 'gateway');
    return [{ ...podTemplate.spec, containers }];
  }
});
