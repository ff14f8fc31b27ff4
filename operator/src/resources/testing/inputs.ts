import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { API_VERSION, parseManifest, type ClaudeGateway } from '@claude-gateway/crds';
import { SAMPLES } from '@claude-gateway/crds/testing';
import { renderConfig, type RenderedConfig } from '../../render/gateway-config.ts';
import type { Child, ChildInput } from '../child.ts';
import { signingKeysName } from '../signing-keys.ts';

const EXAMPLE = fileURLToPath(new URL('../../../../examples/gateway.yaml', import.meta.url));
const UID = '6f3c1f0e-8a52-4f6e-9d6b-0c7d7a1c2b3d';

const MINIMAL = {
  publicURL: 'https://claude.corp.example',
  database: { urlSecretRef: { name: 'database', key: 'url' } },
  identityProviders: [
    {
      name: 'default',
      issuer: 'https://login.corp.example',
      clientID: 'claude',
      clientSecretRef: { name: 'oidc', key: 'client-secret' },
    },
  ],
  upstreams: [{ name: 'anthropic', anthropic: { apiKeySecretRef: { name: 'anthropic', key: 'api-key' } } }],
};

function read(manifest: unknown): ClaudeGateway {
  const resource = parseManifest(manifest);
  if (resource?.kind !== 'ClaudeGateway') throw new Error('the manifest is no ClaudeGateway');
  return { ...resource, metadata: { ...resource.metadata, uid: UID } };
}

/** The least that can be said, with some fields more. */
export const gatewayWith = (spec: object = {}): ClaudeGateway =>
  read({
    apiVersion: API_VERSION,
    kind: 'ClaudeGateway',
    metadata: { name: 'main', namespace: 'claude' },
    spec: { ...MINIMAL, ...spec },
  });

const NOTHING: RenderedConfig = {
  yaml: 'listen: {}\n',
  files: [],
  tokens: [],
  env: {},
  fields: new Map(),
  problems: [],
};

export const inputOf = (gateway: ClaudeGateway, more: Partial<ChildInput> = {}): ChildInput => ({
  gateway,
  rendered: NOTHING,
  restartHash: '0123abcd',
  image: 'registry.example/claude-gateway:0.1.0',
  kinds: { httpRoute: true, serviceMonitor: true },
  ...more,
});

/** With what gateway.yaml of this gateway has mounted; the text itself is tested elsewhere. */
export const inputWithFiles = (gateway: ClaudeGateway, more: Partial<ChildInput> = {}): ChildInput => {
  const keys = ['key-1700000000', 'key-1690000000'];
  const rendered = renderConfig(gateway, { secretName: signingKeysName(gateway), keys });
  return inputOf(gateway, { rendered: { ...rendered, yaml: NOTHING.yaml }, ...more });
};

const [EVERYTHING] = SAMPLES.ClaudeGateway;

/** An init container that the restricted pod security standard lets in. */
const WAIT = {
  name: 'wait',
  image: 'busybox',
  securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
};

/** The gateways that have a golden file. */
export const CASES: readonly { readonly name: string; readonly input: ChildInput }[] = [
  { name: 'minimal', input: inputWithFiles(gatewayWith()) },
  { name: 'example', input: inputWithFiles(read(parse(readFileSync(EXAMPLE, 'utf8')))) },
  {
    name: 'everything',
    input: inputWithFiles(
      gatewayWith({
        ...EVERYTHING,
        podTemplate: {
          ...EVERYTHING?.podTemplate,
          spec: {
            ...EVERYTHING?.podTemplate?.spec,
            initContainers: [WAIT],
            tolerations: [{ key: 'dedicated', operator: 'Exists' }],
          },
        },
      }),
    ),
  },
  {
    name: 'autoscaling',
    input: inputWithFiles(
      gatewayWith({
        publicURL: 'https://corp.example',
        autoscaling: { maxReplicas: 20 },
        ingress: {},
        httpRoute: { parentRefs: [{ name: 'public' }] },
      }),
    ),
  },
];

export const goldenFile = (name: string): string =>
  fileURLToPath(new URL(`../testdata/${name}.yaml`, import.meta.url));

export const readGolden = (name: string): string =>
  existsSync(goldenFile(name)) ? readFileSync(goldenFile(name), 'utf8') : 'no golden file yet';

/** The spec of a child; fails when there is none. */
export function specOf(child: Child | undefined): Record<string, unknown> {
  if (child === undefined) throw new Error('there is no child');
  return (child.object as unknown as { spec: Record<string, unknown> }).spec;
}
