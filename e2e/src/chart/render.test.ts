import { afterAll, expect, it } from '@jest/globals';
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { API_VERSION, KINDS, parseManifest, toDefinition } from '@claude-gateway/crds';
import { CHART, KUBE_VERSION, describeWithHelm, type Manifest } from './helm.ts';

const testdata = fileURLToPath(new URL('../../../charts/testdata/', import.meta.url));
const sets = readdirSync(testdata);
const valuesOf = (set: string): string => join(testdata, set, 'values.yaml');
const temporary = mkdtempSync(join(tmpdir(), 'chart-'));

const idOf = ({ kind, metadata: { namespace = '', name } }: Manifest): string =>
  `${kind} ${namespace}/${name}`;

/** As text that does not depend on the version of helm. The definitions are compared with their source below. */
function golden(manifests: readonly Manifest[]): string {
  return manifests
    .filter(({ kind }) => kind !== 'CustomResourceDefinition')
    .toSorted((one, other) => (idOf(one) < idOf(other) ? -1 : 1))
    .map((manifest) => stringify(manifest, { lineWidth: 0, sortMapEntries: true }))
    .join('---\n')
    .replace(/password-hash: .*/, 'password-hash: BCRYPT');
}

afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describeWithHelm([], (helm) => {
  afterAll(() => helm.dispose());

  const kind = (manifests: readonly Manifest[], wanted: string): readonly Manifest[] =>
    manifests.filter((one) => one.kind === wanted);

  const operatorEnvironment = (manifests: readonly Manifest[]): Record<string, string | undefined> => {
    const [deployment] = kind(manifests, 'Deployment');
    const { template } = deployment?.['spec'] as {
      template: { spec: { containers: { env: { name: string; value?: string }[] }[] } };
    };
    const env = template.spec.containers[0]?.env ?? [];
    return Object.fromEntries(env.map(({ name, value }) => [name, value]));
  };

  it.each(sets)('%s: lint finds nothing', async (set) => {
    const { code, stdout, stderr } = await helm.run([
      'lint',
      '--strict',
      ...KUBE_VERSION,
      CHART,
      '-f',
      valuesOf(set),
    ]);
    expect({ code, problems: (stdout + stderr).match(/\[(WARNING|ERROR)\].*/g) }).toEqual({
      code: 0,
      problems: null,
    });
  });

  it.each(sets)('%s: renders what it rendered before', async (set) => {
    const rendered = golden(await helm.template(['-f', valuesOf(set)]));
    const file = join(testdata, set, 'golden.yaml');
    // UPDATE_GOLDEN=1 writes what is compared otherwise: look at the difference before you commit it.
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, rendered);
    expect(rendered).toBe(existsSync(file) ? readFileSync(file, 'utf8') : 'no golden file yet');
  });

  it('brings the very definitions of the kinds', async () => {
    const rendered = kind(await helm.template(), 'CustomResourceDefinition');
    for (const one of KINDS) {
      const { metadata, spec } = toDefinition(one);
      const found = rendered.find(({ metadata: { name } }) => name === metadata.name);
      expect(found?.['spec']).toEqual(JSON.parse(JSON.stringify(spec)));
      expect(found?.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
    }
    expect(rendered).toHaveLength(KINDS.length);
    expect(kind(await helm.template(['--set', 'crds.enabled=false']), 'CustomResourceDefinition')).toEqual(
      [],
    );
    const [unkept] = kind(await helm.template(['--set', 'crds.keep=false']), 'CustomResourceDefinition');
    expect(unkept?.metadata.annotations).toBeUndefined();
  });

  it('tells the operator where to work, and as which image gateways run', async () => {
    expect(operatorEnvironment(await helm.template())).toMatchObject({
      WATCH_NAMESPACES: 'claude',
      LEADER_ELECTION: 'true',
      GATEWAY_IMAGE: 'ghcr.io/claude-gateway/claude-gateway:0.1.0',
    });
    const many = await helm.template(['--set', 'watchNamespaces={b,a}']);
    expect(operatorEnvironment(many)['WATCH_NAMESPACES']).toBe('a,b');
    const everywhere = await helm.template(['--set', 'scope=cluster']);
    expect(operatorEnvironment(everywhere)['WATCH_NAMESPACES']).toBe('');
  });

  it('leaves a gateway out as long as its kind is not known, and says what to do', async () => {
    const args = ['--set', 'quickstart.enabled=true'];
    expect(kind(await helm.template(args), 'ClaudeGateway')).toEqual([]);
    const known = ['--api-versions', `${API_VERSION}/ClaudeGateway`];
    expect(kind(await helm.template([...args, ...known]), 'ClaudeGateway')).toHaveLength(1);
    const upgrade = await helm.template([...args, '--is-upgrade']);
    expect(kind(upgrade, 'ClaudeGateway')).toHaveLength(1);
  });

  it.each(['gateway', 'quickstart'])(
    '%s: the ClaudeGateway is one that the API server takes',
    async (set) => {
      const [gateway] = kind(await helm.template(['-f', valuesOf(set)]), 'ClaudeGateway');
      expect(parseManifest(gateway)?.kind).toBe('ClaudeGateway');
    },
  );

  it('lets quickstart.spec change the gateway of the quick start', async () => {
    const [gateway] = kind(await helm.template(['-f', valuesOf('quickstart')]), 'ClaudeGateway');
    expect(gateway?.['spec']).toMatchObject({ replicas: 1, requestLimits: { maxBodyBytes: 1_048_576 } });
  });

  const refused: [what: string, values: unknown, says: string][] = [
    ['an unknown value', { nonsense: 1 }, 'nonsense'],
    ['an unknown value inside', { quickstart: { postgres: { size: '1Gi' } } }, 'size'],
    ['an unknown scope', { scope: 'galaxy' }, 'scope'],
    ['text for a number', { replicas: 'two' }, 'replicas'],
    ['too many replicas', { replicas: 11 }, 'replicas'],
    ['a tag inside the repository', { image: { repository: 'Registry/gateway' } }, 'repository'],
    ['a digest that is none', { image: { digest: 'sha256:abc' } }, 'digest'],
    ['a pull policy', { image: { pullPolicy: 'Sometimes' } }, 'pullPolicy'],
    ['pull secrets by name alone', { imagePullSecrets: ['registry'] }, 'imagePullSecrets'],
    ['a namespace that is none', { watchNamespaces: ['Team A'] }, 'watchNamespaces'],
    ['a namespace twice', { watchNamespaces: ['a', 'a'] }, 'watchNamespaces'],
    ['a number as a label', { podLabels: { costs: 4711 } }, 'podLabels'],
    ['a gateway name that is too long', { gateway: { name: 'a'.repeat(51) } }, 'gateway'],
    ['an interval', { metrics: { serviceMonitor: { interval: 'often' } } }, 'interval'],
    ['namespaces in cluster scope', { scope: 'cluster', watchNamespaces: ['a'] }, 'watchNamespaces'],
    ['replicas without a leader', { replicas: 2, leaderElection: false }, 'leaderElection'],
    ['a gateway without a spec', { gateway: { enabled: true } }, 'gateway.spec'],
    [
      'a quick start that nobody watches',
      { quickstart: { enabled: true }, watchNamespaces: ['other'] },
      'add claude',
    ],
    [
      'two gateways of one name',
      { quickstart: { enabled: true, name: 'one' }, gateway: { enabled: true, name: 'one', spec: { a: 1 } } },
      'gateway.name',
    ],
    [
      'a ServiceMonitor without a Service',
      { metrics: { service: { enabled: false }, serviceMonitor: { enabled: true } } },
      'metrics.service.enabled',
    ],
    ['no ServiceAccount at all', { serviceAccount: { create: false } }, 'serviceAccount.name'],
  ];

  it.each(refused)('refuses %s by name', async (_what, values, says) => {
    const file = join(temporary, 'values.yaml');
    writeFileSync(file, stringify(values));
    await expect(helm.template(['-f', file])).rejects.toThrow(says);
  });

  it.each(Object.keys(parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as object))(
    'renders with %s set to null as without it, and with everything in it set to null',
    async (key) => {
      const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Record<string, unknown>;
      const rest = { quickstart: { enabled: true }, metrics: { serviceMonitor: { enabled: true } } };
      const file = join(temporary, `null-${key}.yaml`);
      writeFileSync(file, stringify({ ...rest, [key]: null }));
      const rendered = await helm.template(['-f', file, '--is-upgrade']);
      writeFileSync(file, stringify({ ...rest, [key]: undefined }));
      const without = await helm.template(['-f', file, '--is-upgrade']);
      // What is whole is removed as a whole, as helm does it: resources, security contexts.
      const removed = ['resources', 'podSecurityContext', 'securityContext'].includes(key);
      const shown = (manifests: readonly Manifest[]): string =>
        golden(manifests).replaceAll(/(password|secret|url): .*/g, '$1: RANDOM');
      if (removed) expect(rendered).toHaveLength(without.length);
      else expect(shown(rendered)).toBe(shown(without));
      const { [key]: value } = values;
      if (value === null || typeof value !== 'object' || Array.isArray(value)) return;
      const nulls = Object.fromEntries(Object.keys(value).map((inner) => [inner, null]));
      writeFileSync(file, stringify({ [key]: nulls }));
      await expect(helm.template(['-f', file, '--is-upgrade'])).resolves.not.toEqual([]);
    },
    60_000,
  );

  it('can be left out, or not, of a chart that has it as a dependency', async () => {
    const umbrella = mkdtempSync(join(temporary, 'umbrella-'));
    const dependency = {
      name: 'claude-gateway',
      version: '*',
      alias: 'cg',
      condition: 'cg.enabled',
      repository: `file://${CHART}`,
    };
    const about = { apiVersion: 'v2', name: 'umbrella', version: '1.0.0', dependencies: [dependency] };
    writeFileSync(join(umbrella, 'Chart.yaml'), stringify(about));
    writeFileSync(join(umbrella, 'values.yaml'), stringify({ cg: { enabled: true, serviceAccount: null } }));
    cpSync(CHART, join(umbrella, 'charts', 'claude-gateway'), { recursive: true });
    const whole = await helm.template(['--set', 'global.team=platform'], umbrella);
    expect(kind(whole, 'Deployment').map(({ metadata: { name } }) => name)).toEqual(['test-cg-operator']);
    expect(kind(whole, 'ServiceAccount')).toHaveLength(1);
    expect(await helm.template(['--set', 'cg.enabled=false'], umbrella)).toEqual([]);
    await expect(helm.template(['--set', 'enabled=false'])).rejects.toThrow('condition');
  });

  it('packages nothing but the chart', async () => {
    const { code } = await helm.run(['package', CHART, '-d', temporary]);
    expect(code).toBe(0);
    const [archive = ''] = readdirSync(temporary).filter((name) => name.endsWith('.tgz'));
    const shown = await helm.run(['show', 'values', join(temporary, archive)]);
    expect(parse(shown.stdout)).toEqual(parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')));
  });
});
