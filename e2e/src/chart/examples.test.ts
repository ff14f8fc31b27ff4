import { afterAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { UPSTREAM_PROVIDERS, parseManifest, type ClaudeGateway } from '@claude-gateway/crds';
import { describeWithHelm, documentsOf, type Manifest } from './helm.ts';

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url));

/** Those in folders: the ones beside the folders are what `make dev` runs. */
const files = readdirSync(examples, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.includes('/') && name.endsWith('.yaml'))
  .toSorted();

const manifestsOf = (file: string): readonly Manifest[] =>
  documentsOf(readFileSync(join(examples, file), 'utf8'));

function gatewayOf(file: string): ClaudeGateway {
  const found = manifestsOf(file).find(({ kind }) => kind === 'ClaudeGateway');
  const parsed = found === undefined ? undefined : parseManifest(found);
  if (parsed?.kind !== 'ClaudeGateway') throw new Error(`${file} has no ClaudeGateway`);
  return parsed;
}

const providersOf = (file: string): readonly string[] =>
  gatewayOf(file).spec.upstreams.flatMap((upstream) => UPSTREAM_PROVIDERS.filter((name) => name in upstream));

describe('the examples in folders', () => {
  it.each(files)('%s: every manifest has a kind and a name, and ours are valid', (file) => {
    const manifests = manifestsOf(file);
    expect(manifests.length).toBeGreaterThan(0);
    for (const manifest of manifests) {
      expect(manifest).toMatchObject({
        apiVersion: expect.stringMatching(/^([a-z0-9.-]+\/)?v[0-9a-z]+$/),
        kind: expect.stringMatching(/^[A-Z]/),
        metadata: { name: expect.any(String), namespace: expect.any(String) },
      });
      expect(() => parseManifest(manifest)).not.toThrow();
    }
  });

  it.each([
    ['clouds/eks.yaml', 'bedrock', 'eks.amazonaws.com/role-arn'],
    ['clouds/gke.yaml', 'vertex', 'iam.gke.io/gcp-service-account'],
    ['clouds/aks.yaml', 'foundry', 'azure.workload.identity/client-id'],
  ])('%s goes to %s as the pods themselves, without a credential', (file, provider, annotation) => {
    const { spec } = gatewayOf(file);
    expect(new Set(providersOf(file))).toEqual(new Set([provider]));
    expect(Object.keys(spec.serviceAccount.annotations ?? {})).toContain(annotation);
    expect(JSON.stringify(spec.upstreams)).not.toContain('SecretRef');
  });

  it('cloudnative-pg: the gateway reads the Secret that the Cluster makes', () => {
    const file = 'cloudnative-pg/gateway.yaml';
    const cluster = manifestsOf(file).find(({ kind }) => kind === 'Cluster');
    const secret = { name: `${cluster?.metadata.name}-app`, key: 'uri' };
    expect(gatewayOf(file).spec.database.urlSecretRef).toEqual(secret);
    expect(cluster?.metadata.namespace).toBe(gatewayOf(file).metadata.namespace);
  });
});

describeWithHelm([], (helm) => {
  const directory = mkdtempSync(join(tmpdir(), 'examples-'));

  afterAll(() => {
    helm.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    ['gitops/argo-cd/operator.yaml', 'Application'],
    ['gitops/flux/operator.yaml', 'HelmRelease'],
  ])('%s: the chart takes its values', async (file, kind) => {
    const spec = manifestsOf(file).find((one) => one.kind === kind)?.['spec'] as {
      source?: { path: string; helm: { valuesObject: unknown } };
      chart?: { spec: { chart: string } };
      values?: unknown;
    };
    expect((spec.source?.path ?? spec.chart?.spec.chart ?? '').replace(/^\.\//, '')).toBe(
      'charts/claude-gateway',
    );
    const values = join(directory, 'values.yaml');
    writeFileSync(values, stringify(spec.source?.helm.valuesObject ?? spec.values));
    const rendered = await helm.template(['-f', values]);
    expect(rendered.map((one) => one.kind)).toContain('ServiceMonitor');
  });
});
