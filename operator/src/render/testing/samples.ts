import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { selfSigned } from '@claude-gateway/contract/testing';
import { API_VERSION, parseManifest, type ClaudeGateway } from '@claude-gateway/crds';
import { SAMPLES } from '@claude-gateway/crds/testing';
import type { Resolved } from '../references.ts';

const TESTDATA = fileURLToPath(new URL('../testdata/', import.meta.url));
const EXAMPLE = fileURLToPath(new URL('../../../../examples/gateway.yaml', import.meta.url));
const GOLDEN = '.gateway.yaml';

/** As the API server would hand it out. */
export function gatewayOf(manifest: unknown): ClaudeGateway {
  const resource = parseManifest(manifest);
  if (resource?.kind !== 'ClaudeGateway') throw new Error('the manifest is no ClaudeGateway');
  return resource;
}

/** A gateway with this spec. */
export function gatewayWith(spec: unknown): ClaudeGateway {
  return gatewayOf({
    apiVersion: API_VERSION,
    kind: 'ClaudeGateway',
    metadata: { name: 'main', namespace: 'claude' },
    spec,
  });
}

export const GOOD_SPECS = SAMPLES.ClaudeGateway;

/** Gateways that have a golden file: those of testdata, the sample that sets every field, and the example. */
export const CASES: readonly { readonly name: string; readonly gateway: ClaudeGateway }[] = [
  ...readdirSync(TESTDATA)
    .filter((file) => file.endsWith('.yaml') && !file.endsWith(GOLDEN))
    .map((file) => ({ name: file.replace(/\.yaml$/, ''), gateway: readGateway(join(TESTDATA, file)) })),
  { name: 'everything', gateway: gatewayWith(GOOD_SPECS[0]) },
  { name: 'example', gateway: readGateway(EXAMPLE) },
];

function readGateway(file: string): ClaudeGateway {
  return gatewayOf(parse(readFileSync(file, 'utf8')));
}

export const goldenFile = (name: string): string => join(TESTDATA, name + GOLDEN);

export const readGolden = (name: string): string =>
  existsSync(goldenFile(name)) ? readFileSync(goldenFile(name), 'utf8') : 'no golden file yet';

export const SIGNING_KEYS = { secretName: 'main-signing-keys', keys: ['k2', 'k1'] } as const;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const certificate = selfSigned(privateKey);
const VALUES: Readonly<Record<string, string>> = {
  'tls.key': privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  'tls.crt': certificate,
  'ca.crt': certificate,
  'ca.pem': certificate,
  uri: 'postgres://app:secret@db.corp.example/claude',
  url: 'postgres://app:secret@db.corp.example/claude',
  chat: 'https://chat.corp.example/hooks/secret',
  whsec: 'whsec_bmV3ZXItc2VjcmV0LW9mLTI0LWJ5dGVz',
  new: 'whsec_bmV3ZXItc2VjcmV0LW9mLTI0LWJ5dGVz',
  old: 'whsec_b2xkZXItc2VjcmV0LW9mLTI0LWJ5dGVz',
};

/** A value that suits every field of the samples that refers to this key. */
export const sampleValue: Resolved = (kind, name, key) =>
  VALUES[key] ?? `secret-${kind}-${name}-${key}-`.padEnd(64, 'x');
