import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeAnswer, TestApiServer } from '../testbed/api-server.ts';
import type { Manifest } from './helm.ts';

/** A resource as discovery names it; `name` is `pods/exec` for a subresource. */
export interface ApiResource {
  readonly group: string;
  readonly version: string;
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

interface ResourceList {
  readonly resources: readonly { name: string; kind: string; namespaced: boolean }[];
}

/** Every resource that the API server serves, in the version it prefers. */
export async function discover(server: TestApiServer): Promise<readonly ApiResource[]> {
  const { body } = await server.call('GET', '/apis');
  const groups = body['groups'] as { preferredVersion: { groupVersion: string } }[];
  const paths = [
    '/api/v1',
    ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`),
  ];
  const found = paths.map(async (path) => {
    const { resources } = (await server.call('GET', path)).body as unknown as ResourceList;
    const [, , group = '', version = 'v1'] = path.startsWith('/apis') ? path.split('/') : ['', '', '', 'v1'];
    return resources.map(({ name, kind, namespaced }) => ({ group, version, name, kind, namespaced }));
  });
  return (await Promise.all(found)).flat();
}

/** The path of an object, as it is or will be. @throws when its kind is not served. */
export function pathOf(resources: readonly ApiResource[], { apiVersion, kind, metadata }: Manifest): string {
  const [version = '', group = ''] = apiVersion.split('/').reverse();
  const found = resources.find(
    (one) => one.group === group && one.version === version && one.kind === kind && !one.name.includes('/'),
  );
  if (found === undefined) throw new Error(`${apiVersion} ${kind} is not served`);
  const namespace = found.namespaced ? `/namespaces/${metadata.namespace ?? 'claude'}` : '';
  return `${group === '' ? '/api' : `/apis/${group}`}/${version}${namespace}/${found.name}/${metadata.name}`;
}

/** @throws when it is refused for another reason than being there. */
export async function makeNamespace(server: TestApiServer, name: string): Promise<void> {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
  const { status, body } = await server.call('POST', '/api/v1/namespaces', namespace);
  if (status !== 201 && status !== 409) throw new Error(JSON.stringify(body));
}

/** Asks until the answer is `wanted`, since definitions take a moment to be served. */
export async function answers(server: TestApiServer, path: string, wanted = 200): Promise<KubeAnswer> {
  for (let tries = 0; ; tries++) {
    const answer = await server.call('GET', path);
    if (answer.status === wanted) return answer;
    if (tries === 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body['message'])}`);
    await sleep(100);
  }
}

/** A kind of somebody else that clusters may have, as far as the chart needs it: any document is one. */
export const foreignDefinition = (group: string, version: string, kind: string, plural: string) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
});
