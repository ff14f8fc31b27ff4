import { request, type RequestOptions } from 'node:https';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { ApiServer } from '@claude-gateway/dev';
import { MERGED_LISTS } from './compare.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
}
type Schemas = Record<string, Schema>;

const KINDS: readonly (readonly [document: string, schema: string])[] = [
  ['api/v1', 'io.k8s.api.core.v1.ConfigMap'],
  ['api/v1', 'io.k8s.api.core.v1.Secret'],
  ['api/v1', 'io.k8s.api.core.v1.Service'],
  ['api/v1', 'io.k8s.api.core.v1.ServiceAccount'],
  ['apis/apps/v1', 'io.k8s.api.apps.v1.Deployment'],
  ['apis/autoscaling/v2', 'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler'],
  ['apis/policy/v1', 'io.k8s.api.policy.v1.PodDisruptionBudget'],
  ['apis/networking.k8s.io/v1', 'io.k8s.api.networking.v1.Ingress'],
  ['apis/networking.k8s.io/v1', 'io.k8s.api.networking.v1.NetworkPolicy'],
];

describeWithApiServer()('MERGED_LISTS', () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await ApiServer.start();
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });

  async function schemas(document: string): Promise<Schemas> {
    const config = configOf(server);
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const body = await new Promise<string>((resolve, reject) => {
      request(`${config.getCurrentCluster()?.server}/openapi/v3/${document}`, options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk)).on('end', () => resolve(text));
      })
        .on('error', reject)
        .end();
    });
    return (JSON.parse(body) as { components: { schemas: Schemas } }).components.schemas;
  }

  it('are those of the API server', async () => {
    /** Of all lists that do not belong to their author as a whole, and of those that do. */
    const merged: Record<string, readonly string[]> = {};
    const whole = new Set<string>();
    const walk = (all: Schemas, schema: Schema, path: string): void => {
      const name = (schema.$ref ?? schema.allOf?.[0]?.$ref)?.split('/').pop();
      const { properties = {}, type, items } = name === undefined ? schema : (all[name] ?? {});
      const how = schema['x-kubernetes-list-type'];
      if (how === 'map') merged[path] = schema['x-kubernetes-list-map-keys'] ?? [];
      else if (how === 'set') merged[path] = [];
      else if (type === 'array') {
        whole.add(path);
        return;
      }
      if (items !== undefined) walk(all, items, path);
      for (const [field, inner] of Object.entries(properties)) {
        // What is never applied here.
        if (path === '' && field === 'status') continue;
        walk(all, inner, path === '' ? field : `${path}.${field}`);
      }
    };
    for (const [document, name] of KINDS) {
      const all = await schemas(document);
      expect(Object.keys(all)).toContain(name);
      walk(all, all[name] as Schema, '');
    }
    expect(MERGED_LISTS).toMatchObject(merged);
    // An older server does not know all of them, but none says otherwise.
    expect(Object.keys(MERGED_LISTS).filter((path) => whole.has(path))).toEqual([]);
    expect(Object.keys(merged).length).toBeGreaterThan(20);
  });
});
