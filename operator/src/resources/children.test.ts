import { writeFileSync } from 'node:fs';
import { request, type RequestOptions } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { stringify } from 'yaml';
import { keyOf, pathOf, type KubeObject, type ResourceType } from '../kube/objects.ts';
import { configOf, describeWithApiServer } from '../kube/testing/api-server.ts';
import { CHILD_TYPES, childrenOf, OPTIONAL_CHILD_TYPES } from './children.ts';
import { CASES, gatewayWith, goldenFile, inputOf, readGolden } from './testing/inputs.ts';

/** In the YAML that kubectl reads, in which off is a boolean. */
const toYaml = (objects: readonly unknown[]): string =>
  objects
    .map((object) => stringify(object, { version: '1.1', singleQuote: true, lineWidth: 0 }))
    .join('---\n');

describe.each(CASES)('$name', ({ name, input }) => {
  it('has the children that it had before', () => {
    const yaml = toYaml(childrenOf(input).map(({ object }) => object));
    // UPDATE_GOLDEN=1 writes what is compared otherwise: look at the difference before you commit it.
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(goldenFile(name), yaml);
    expect(yaml).toBe(readGolden(name));
  });

  it('has children of the kinds that are announced, owned and labelled, none twice', () => {
    const children = childrenOf(input);
    for (const { type, object } of children) {
      expect(CHILD_TYPES).toContain(type);
      expect(object.metadata.ownerReferences).toEqual([
        expect.objectContaining({ kind: 'ClaudeGateway', uid: input.gateway.metadata.uid, controller: true }),
      ]);
      expect(object.metadata.labels).toMatchObject({
        'app.kubernetes.io/name': 'claude-gateway',
        'app.kubernetes.io/instance': 'main',
      });
    }
    expect(new Set(children.map(({ type, object }) => `${type.kind} ${keyOf(object)}`)).size).toBe(
      children.length,
    );
  });
});

it('makes the same of equal input', () => {
  for (const { input } of CASES) expect(childrenOf(structuredClone(input))).toEqual(childrenOf(input));
});

it('makes nothing of kinds that the API server does not have', () => {
  const gateway = gatewayWith({ httpRoute: { parentRefs: [{ name: 'public' }] } });
  const kindsOf = (kinds: { httpRoute: boolean; serviceMonitor: boolean }): ResourceType[] =>
    childrenOf(inputOf(gateway, { kinds })).map(({ type }) => type);
  expect(kindsOf({ httpRoute: true, serviceMonitor: true })).toEqual(
    expect.arrayContaining([...OPTIONAL_CHILD_TYPES]),
  );
  const without = kindsOf({ httpRoute: false, serviceMonitor: false });
  for (const type of OPTIONAL_CHILD_TYPES) expect(without).not.toContain(type);
});

it('needs a gateway with a uid', () => {
  const gateway = gatewayWith();
  delete gateway.metadata.uid;
  expect(() => childrenOf(inputOf(gateway))).toThrow('has no uid yet');
});

const NAMESPACES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };

describeWithApiServer()('a real API server', () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await ApiServer.start();
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    expect(await send('POST', pathOf(NAMESPACES), { metadata: { name: 'claude', labels } })).toMatchObject({
      status: 201,
    });
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });

  async function send(method: string, path: string, body: unknown) {
    const options: RequestOptions = { method };
    const config = configOf(server);
    await config.applyToHTTPSOptions(options);
    const type = method === 'PATCH' ? 'application/apply-patch+yaml' : 'application/json';
    options.headers = { ...(options.headers as Record<string, string>), 'content-type': type };
    return new Promise<{ status: number | undefined; body: unknown }>((resolve, reject) => {
      request(`${config.getCurrentCluster()?.server}${path}`, options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response
          .on('data', (chunk: string) => (text += chunk))
          .on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) as unknown }));
      })
        .on('error', reject)
        .end(JSON.stringify(body));
    });
  }

  const dryRun = (type: ResourceType, object: KubeObject) => {
    const { namespace, name } = object.metadata;
    const query = 'fieldManager=test&force=true&fieldValidation=Strict&dryRun=All';
    return send('PATCH', `${pathOf(type, namespace, name)}?${query}`, object);
  };

  describe.each(CASES)('takes the children of $name', ({ input }) => {
    // The other two are not built in.
    const builtIn = childrenOf(input).filter(({ type }) => !OPTIONAL_CHILD_TYPES.includes(type));
    it.each(builtIn.map(({ type, object }) => [type.kind, type, object] as const))(
      '%s',
      async (_, type, object) => {
        expect(await dryRun(type, object)).toMatchObject({ status: 201, body: { kind: type.kind } });
      },
    );

    it('with pods that the restricted pod security standard lets in', async () => {
      const deployment = childrenOf(input).find(({ type }) => type.kind === 'Deployment');
      const { template } = (deployment?.object as unknown as { spec: { template: KubeObject } }).spec;
      const pod = { ...template, metadata: { ...template.metadata, name: 'pod' } };
      expect(
        await send('POST', `${pathOf(PODS, 'claude')}?dryRun=All&fieldValidation=Strict`, pod),
      ).toMatchObject({
        status: 201,
      });
    });
  });

  it('would see a field that is not there, and a pod that may do too much', async () => {
    const found = childrenOf(inputOf(gatewayWith())).find(({ type }) => type.kind === 'Deployment');
    const { type, object } = found as { type: ResourceType; object: KubeObject & { spec: Pod['spec'] } };
    const wrong = structuredClone(object) as KubeObject & { spec: { tempalte?: object } };
    wrong.spec.tempalte = {};
    expect((await dryRun(type, wrong)).status).not.toBe(201);
    const { template } = structuredClone(object).spec;
    template.spec.securityContext = {};
    const answer = await send('POST', `${pathOf(PODS, 'claude')}?dryRun=All`, {
      ...template,
      metadata: { name: 'pod' },
    });
    expect(answer).toMatchObject({ status: 403 });
  });
});

interface Pod {
  spec: { template: { metadata: object; spec: { securityContext: object } } };
}
