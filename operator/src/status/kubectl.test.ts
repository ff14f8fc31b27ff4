import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { ApiServer, findKubeProgram } from '@claude-gateway/dev';
import { CLAUDE_GATEWAY, MANAGED_SETTINGS, SPEND_POLICY, type CustomResource } from '@claude-gateway/crds';
import { parse } from 'yaml';
import { CLAUDE_GATEWAYS, FIELD_MANAGER, HASH_ANNOTATION, MANAGED_SETTINGS_TYPE, SPEND_POLICIES } from '../kinds.ts'; // prettier-ignore
import { Applier } from '../kube/apply.ts';
import { KubeClient } from '../kube/client.ts';
import type { KubeObject, ResourceType } from '../kube/objects.ts';
import { configOf, describeWithApiServer } from '../kube/testing/api-server.ts';
import { eventually } from '../kube/testing/eventually.ts';
import { gatewayStatus } from './gateway-status.ts';
import { managedSettingsStatus } from './managed-settings-status.ts';
import { spendPolicyStatus } from './spend-policy-status.ts';
import { GATEWAYS, NOW, POLICIES, SETTINGS } from './testing/gallery.ts';

const DEFINITIONS: ResourceType = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
const NAMESPACES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
const generated = new URL('../../../crds/generated/', import.meta.url);
const testdata = new URL('testdata/', import.meta.url);

type AnyResource = CustomResource<string, unknown, object>;

describeWithApiServer()('what kubectl shows', () => {
  let server: ApiServer;
  let client: KubeClient;
  let applier: Applier;
  const directory = mkdtempSync(join(tmpdir(), 'kubectl-'));
  const kubeconfig = join(directory, 'config');

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
    applier = new Applier({ client, fieldManager: FIELD_MANAGER, hashAnnotation: HASH_ANNOTATION });
    writeFileSync(kubeconfig, configOf(server).exportConfig(), { mode: 0o600 });
    await client.create(NAMESPACES, { metadata: { name: 'claude' } });
    for (const file of readdirSync(generated))
      await client.create(DEFINITIONS, parse(readFileSync(new URL(file, generated), 'utf8')) as KubeObject);
    await eventually(() =>
      Promise.all([CLAUDE_GATEWAYS, SPEND_POLICIES, MANAGED_SETTINGS_TYPE].map((type) => client.list(type))),
    );
    // One after the other: applying a status is what is tested here.
    for (const { resource, facts } of GATEWAYS)
      await show(CLAUDE_GATEWAYS, resource, (gateway) => {
        const status = gatewayStatus({ ...facts, gateway }, [], NOW);
        return [status, CLAUDE_GATEWAY.status.parse(status)];
      });
    for (const { resource, facts } of POLICIES)
      await show(SPEND_POLICIES, resource, (policy) => {
        const status = spendPolicyStatus({ ...facts, policy }, [], NOW);
        return [status, SPEND_POLICY.status.parse(status)];
      });
    for (const { resource, facts } of SETTINGS)
      await show(MANAGED_SETTINGS_TYPE, resource, (settings) => {
        const status = managedSettingsStatus({ ...facts, settings }, [], NOW);
        return [status, MANAGED_SETTINGS.status.parse(status)];
      });
  }, 120_000);

  afterAll(async () => {
    client?.close();
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Creates the resource and applies its status, which the API server keeps as it is. */
  async function show<T extends AnyResource>(
    type: ResourceType,
    resource: T,
    statusOf: (created: T) => readonly [object, object],
  ): Promise<void> {
    const created = await client.create<T & KubeObject>(type, resource);
    const [status, parsed] = statusOf(created);
    expect(parsed).toEqual(status);
    expect(await applier.applyStatus(type, created, status)).toBe('changed');
    const kept = await client.get<T & KubeObject>(type, 'claude', resource.metadata.name);
    expect(kept.status).toEqual(status);
  }

  function kubectl(...args: readonly string[]): string {
    const program = findKubeProgram('kubectl');
    if (program === undefined)
      throw new Error('kubectl was not found: set KUBEBUILDER_ASSETS to its directory');
    const { status, stdout, stderr } = spawnSync(program, [...args, '--namespace=claude'], {
      encoding: 'utf8',
      env: { KUBECONFIG: kubeconfig, HOME: directory },
    });
    if (status !== 0) throw new Error(stderr);
    return `$ kubectl ${args.join(' ')}\n${stdout}`;
  }

  it.each([
    ['get-gateways', 'get', 'cgw'],
    ['get-policies', 'get', 'spol'],
    ['get-policies-wide', 'get', 'spol', '-o=wide'],
    ['get-settings', 'get', 'mset'],
    ['describe-gateway', 'describe', 'cgw', 'main'],
    ['describe-gateway-missing', 'describe', 'cgw', 'missing'],
    ['describe-policy', 'describe', 'spol', 'everybody'],
    ['describe-policy-progressing', 'describe', 'spol', 'contractors'],
    ['describe-policy-misspelt', 'describe', 'spol', 'misspelt'],
    ['describe-settings', 'describe', 'mset', 'contractors'],
  ])('%s', (name, ...args) => {
    const printed = steady(kubectl(...args));
    expectGolden(`${name}.txt`, printed);
  });

  it('conditions.txt: what every condition says', () => {
    const lines = [CLAUDE_GATEWAYS, SPEND_POLICIES, MANAGED_SETTINGS_TYPE].map(({ kind, plural }) => {
      const template = `{range .items[*]}{"\\n${kind} "}{.metadata.name}{"\\n"}{range .status.conditions[*]}{"  "}{.type}={.status} {.reason}: {.message}{"\\n"}{end}{end}`;
      const [, ...printed] = kubectl('get', plural, `-o=jsonpath=${template}`).split('\n');
      return printed.join('\n');
    });
    const printed = lines.join('\n').trimStart();
    expectGolden('conditions.txt', printed);
  });
});

function expectGolden(name: string, printed: string): void {
  const file = new URL(name, testdata);
  // UPDATE_GOLDEN=1 writes what is compared otherwise: look at the difference before you commit it.
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, printed);
  expect(printed).toBe(existsSync(file) ? readFileSync(file, 'utf8') : 'no golden file yet');
}

/** Without what differs each time. */
function steady(printed: string): string {
  return printed
    .replace(/(Creation Timestamp:|Resource Version:|UID:)( +)\S+/g, '$1$2…')
    .replace(/(?<= )[0-9]+[smhd]([0-9]+s)?(?= *$| +\S+ *$)/gm, '…')
    .replace(/ +$/gm, '');
}
