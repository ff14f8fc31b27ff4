import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findKubeProgram } from '@claude-gateway/dev';
import { parse, parseAllDocuments } from 'yaml';
import { KINDS, ManifestError, parseManifest, type ResourceKind } from '@claude-gateway/crds';
import { casesOf, SAMPLES, type Case } from '@claude-gateway/crds/testing';
import { TestApiServer, type KubeAnswer } from './testbed/api-server.ts';
import { describeWithApiServer } from './testbed/requirements.ts';

const GROUP = '/apis/claudegateway.dev/v1alpha1/namespaces/claude';
const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const generated = new URL('../../crds/generated/', import.meta.url);
const examples = new URL('../../examples/', import.meta.url);

type KindName = keyof typeof SAMPLES;

const pluralOf = (kind: string): string => KINDS.find((one) => one.kind === kind)?.plural ?? '';

const object = (kind: string, name: string, spec: unknown) => ({
  apiVersion: 'claudegateway.dev/v1alpha1',
  kind,
  metadata: { name, namespace: 'claude' },
  spec,
});

interface Cause {
  readonly field?: string;
  readonly message?: string;
}

function causesOf({ body }: KubeAnswer): readonly Cause[] {
  const { causes = [] } = (body['details'] ?? {}) as { causes?: readonly Cause[] };
  // Values of maps: a key in brackets and a field after a dot are the same place.
  return causes.map(({ field = '', message = '' }) => ({
    field: field.replace(/\[([^\]0-9][^\]]*)\]/g, '.$1'),
    message,
  }));
}

function acceptedWithout(kind: string, spec: unknown): boolean {
  try {
    parseManifest(object(kind, 'case', spec));
    return true;
  } catch (error) {
    if (error instanceof ManifestError) return false;
    throw error;
  }
}

describeWithApiServer()('the custom resources, on a real API server', () => {
  let server: TestApiServer;

  const judge = (kind: string, spec: unknown, name = 'case'): Promise<KubeAnswer> =>
    server.call(
      'POST',
      `${GROUP}/${pluralOf(kind)}?dryRun=All&fieldValidation=Strict`,
      object(kind, name, spec),
    );

  beforeAll(async () => {
    server = await TestApiServer.start();
    for (const file of readdirSync(generated)) {
      const definition: unknown = parse(readFileSync(new URL(file, generated), 'utf8'));
      const { status, body } = await server.call('POST', DEFINITIONS, definition);
      if (status !== 201) throw new Error(`${file}: ${JSON.stringify(body['message'])}`);
    }
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'claude' } };
    await server.call('POST', '/api/v1/namespaces', namespace);
    for (const { plural } of KINDS) await served(plural);
  }, 120_000);

  afterAll(async () => server?.stop());

  async function served(plural: string): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      if ((await server.call('GET', `${GROUP}/${plural}`)).status === 200) return;
      await sleep(100);
    }
    throw new Error(`${plural} are not served`);
  }

  it.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    '%s is established, structural, and known by its names',
    async (_name, kind: ResourceKind) => {
      const { body } = await server.call('GET', `${DEFINITIONS}/${kind.plural}.claudegateway.dev`);
      const { conditions, acceptedNames } = body['status'] as {
        conditions: { type: string; status: string }[];
        acceptedNames: unknown;
      };
      const byType = Object.fromEntries(conditions.map(({ type, status }) => [type, status]));
      expect(byType).toEqual({ NamesAccepted: 'True', Established: 'True' });
      expect(acceptedNames).toMatchObject({ shortNames: kind.shortNames, categories: ['claude'] });
    },
  );

  it.each(Object.keys(SAMPLES) as KindName[])(
    'every bound and rule of a %s holds, on both sides',
    async (kind) => {
      const cases = casesOf(kind, (spec) => acceptedWithout(kind, spec));
      const wrong: string[] = [];
      const queue = [...cases];
      const worker = async (): Promise<void> => {
        for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
          const verdict = disagreement(one, await judge(kind, one.spec));
          if (verdict !== undefined) wrong.push(verdict);
        }
      };
      await Promise.all(Array.from({ length: 8 }, worker));
      expect(wrong).toEqual([]);
      expect(cases.filter(({ refused }) => refused !== undefined).length).toBeGreaterThan(20);
    },
    300_000,
  );

  function disagreement({ name, refused, says }: Case, answer: KubeAnswer): string | undefined {
    const message = JSON.stringify(answer.body['message']);
    if (refused === undefined) {
      return answer.status === 201 ? undefined : `${name}: should be accepted, but ${message}`;
    }
    if (answer.status !== 422) return `${name}: should be refused, but ${answer.status} ${message}`;
    const found = causesOf(answer).some(
      ({ field, message: text = '' }) => field === refused && (says === undefined || text.includes(says)),
    );
    return found ? undefined : `${name}: ${refused} should be named, but ${message}`;
  }

  it.each(Object.keys(SAMPLES) as KindName[])(
    'the samples of a %s are accepted, with every default',
    async (kind) => {
      for (const spec of SAMPLES[kind]) {
        const { status, body } = await judge(kind, spec);
        expect({ status, message: body['message'] }).toEqual({ status: 201, message: undefined });
        // What programs without an API server get must be the same document.
        expect(body['spec']).toEqual(parseManifest(object(kind, 'case', spec))?.spec);
      }
    },
  );

  it.each(Object.keys(SAMPLES) as KindName[])(
    'a %s with a field that there is not is refused',
    async (kind) => {
      const { status, body } = await judge(kind, { ...SAMPLES[kind][0], nonsense: 1 });
      expect(status).toBe(400);
      expect(body['message']).toContain('unknown field "spec.nonsense"');
    },
  );

  it.each(['1main', 'main.corp', 'a'.repeat(51)])('a gateway cannot be called %s', async (name) => {
    const answer = await judge('ClaudeGateway', SAMPLES.ClaudeGateway[2], name);
    expect(answer.status).toBe(422);
    expect(answer.body['message']).toContain('choose a name of at most 50');
  });

  it('accepts the examples', async () => {
    for (const file of readdirSync(examples).filter((name) => name.endsWith('.yaml'))) {
      for (const document of parseAllDocuments(readFileSync(new URL(file, examples), 'utf8'))) {
        const manifest = document.toJS() as { kind: string; metadata: { name: string } };
        const path = `${GROUP}/${pluralOf(manifest.kind)}/${manifest.metadata.name}`;
        const { status, body } = await server.apply(path, manifest);
        expect({ name: manifest.metadata.name, status, message: body['message'] }).toMatchObject({
          status: 201,
        });
      }
    }
  });

  it.each(Object.keys(SAMPLES) as KindName[])(
    'another author may apply the same %s, and nothing changes',
    async (kind) => {
      for (const [index, spec] of SAMPLES[kind].entries()) {
        const manifest = object(kind, `same-${index}`, spec);
        const path = `${GROUP}/${pluralOf(kind)}/same-${index}`;
        const first = await server.call('POST', `${GROUP}/${pluralOf(kind)}?fieldManager=kubectl`, manifest);
        expect({ status: first.status, message: first.body['message'] }).toMatchObject({ status: 201 });
        const other = await server.apply(path, manifest, 'argocd');
        expect({ status: other.status, message: other.body['message'] }).toMatchObject({ status: 200 });
        const again = await server.apply(path, manifest, 'argocd');
        expect(again.body['metadata']).toEqual(other.body['metadata']);
      }
    },
  );

  it('lets two authors each own entries of a list', async () => {
    const path = `${GROUP}/claudegateways/shared`;
    const gateway = object('ClaudeGateway', 'shared', SAMPLES.ClaudeGateway[2]);
    expect((await server.apply(path, gateway, 'platform')).status).toBe(201);
    const key = { name: 'finops', secretRef: { name: 'finops', key: 'key' } };
    const partial = { ...gateway, spec: { admin: { groups: ['finops'], keys: [key] } } };
    const { status, body } = await server.apply(path, partial, 'finops');
    expect({ status, message: body['message'] }).toMatchObject({ status: 200 });
    // The first author applies again, and takes nothing away.
    const again = await server.apply(path, gateway, 'platform');
    expect(again.body['spec']).toMatchObject({ admin: { groups: ['finops'], keys: [{ name: 'finops' }] } });
  });

  it('scales a gateway, unless it scales itself', async () => {
    const scaled = object('ClaudeGateway', 'scaled', SAMPLES.ClaudeGateway[2]);
    await server.call('POST', `${GROUP}/claudegateways`, scaled);
    const scale = (name: string) =>
      server.call(
        'PATCH',
        `${GROUP}/claudegateways/${name}/scale`,
        { spec: { replicas: 5 } },
        'application/merge-patch+json',
      );
    expect((await scale('scaled')).status).toBe(200);
    const { body } = await server.call('GET', `${GROUP}/claudegateways/scaled`);
    expect(body['spec']).toMatchObject({ replicas: 5 });

    const itself = object('ClaudeGateway', 'itself', {
      ...SAMPLES.ClaudeGateway[2],
      autoscaling: { maxReplicas: 3 },
    });
    await server.call('POST', `${GROUP}/claudegateways`, itself);
    const refused = await scale('itself');
    expect(refused.status).toBe(422);
    expect(refused.body['message']).toContain('autoscaling chooses the number of pods');
  });

  it('keeps status apart from spec', async () => {
    const policy = object('SpendPolicy', 'apart', SAMPLES.SpendPolicy[1]);
    await server.call('POST', `${GROUP}/spendpolicies`, { ...policy, status: { observedGeneration: 7 } });
    const path = `${GROUP}/spendpolicies/apart`;
    expect((await server.call('GET', path)).body['status']).toEqual({ observedGeneration: -1 });
    const status = {
      observedGeneration: 1,
      conditions: [
        {
          type: 'Enforced',
          status: 'True',
          reason: 'AllReplicas',
          message: '3 of 3 replicas run revision 41',
          lastTransitionTime: '2026-11-01T00:00:00Z',
        },
      ],
      nearest: {
        limit: '$5000.00 Monthly',
        spent: '$271.40',
        utilizationPercent: 5,
        resetsAt: '2026-12-01T00:00:00+01:00',
      },
    };
    const bare = { ...policy, spec: undefined };
    const applied = await server.apply(`${path}/status`, { ...bare, status });
    expect({ status: applied.status, message: applied.body['message'] }).toMatchObject({ status: 200 });
    expect(applied.body['status']).toEqual(status);
    expect(applied.body['spec']).toMatchObject({ subject: { kind: 'Organization' } });
  });

  it('answers in kubectl get what people ask', () => {
    const kubectl = findKubeProgram('kubectl');
    if (kubectl === undefined) return;
    const columns = (resource: string): string[] => {
      const { stdout, stderr } = spawnSync(
        kubectl,
        [
          '--kubeconfig',
          server.kubeconfigFile(),
          '--cache-dir',
          `${server.kubeconfigFile()}.cache`,
          '-n',
          'claude',
          'get',
          resource,
        ],
        { encoding: 'utf8' },
      );
      const [head = stderr] = stdout.split('\n');
      return head.trim().split(/\s{2,}/);
    };
    expect(columns('cgw')).toEqual(['NAME', 'READY', 'PODS', 'URL', 'VERSION', 'AGE']);
    expect(columns('spol')).toEqual(
      ['NAME', 'KIND', 'SUBJECT', 'LIMIT', 'SPENT', 'PERCENT', 'RESETS', 'ENFORCED', 'AGE'],
    ); // prettier-ignore
    expect(columns('mset')).toEqual(
      ['NAME', 'GROUPS', 'DOMAINS', 'PRIORITY', 'CLIENTS', 'STALE', 'DELIVERED', 'AGE'],
    ); // prettier-ignore
  });
});
