import { describe, expect, it } from '@jest/globals';
import { renderConfig } from './gateway-config.ts';
import { referencesOf, unresolved } from './references.ts';
import { CASES, gatewayWith, GOOD_SPECS, SIGNING_KEYS } from './testing/samples.ts';

const [everything, , least] = GOOD_SPECS;

describe('referencesOf', () => {
  it('names each value once, with every field that names it, sorted', () => {
    const identityProviders = [
      { name: 'a', issuer: 'https://a.example', clientID: 'a', clientSecretRef: { name: 's', key: 'k' } },
      {
        ...{
          name: 'b',
          issuer: 'https://b.example',
          clientID: 'b',
          clientSecretRef: { name: 's', key: 'k' },
        },
        caRef: { name: 'ca' },
      },
    ];
    const listen = { tls: { secretName: 'pod-tls' } };
    expect(referencesOf(gatewayWith({ ...least, identityProviders, listen }))).toEqual([
      { kind: 'ConfigMap', name: 'ca', key: 'ca.crt', fields: ['spec.identityProviders[1].caRef'] },
      {
        ...{ kind: 'Secret', name: 'claude', key: 'api-key' },
        fields: ['spec.upstreams[0].anthropic.apiKeySecretRef'],
      },
      { kind: 'Secret', name: 'claude', key: 'uri', fields: ['spec.database.urlSecretRef'] },
      { kind: 'Secret', name: 'pod-tls', key: 'tls.crt', fields: ['spec.listen.tls.secretName'] },
      { kind: 'Secret', name: 'pod-tls', key: 'tls.key', fields: ['spec.listen.tls.secretName'] },
      {
        ...{ kind: 'Secret', name: 's', key: 'k' },
        fields: ['spec.identityProviders[0].clientSecretRef', 'spec.identityProviders[1].clientSecretRef'],
      },
    ]);
  });

  it.each(CASES)('$name: names what is mounted, but for the keys that the operator makes', ({ gateway }) => {
    const { files } = renderConfig(gateway, SIGNING_KEYS);
    const id = ({ kind, name, key }: { kind: string; name: string; key: string }) => `${kind} ${name} ${key}`;
    expect(referencesOf(gateway).map(id)).toEqual(
      files.filter(({ name }) => name !== SIGNING_KEYS.secretName).map(id),
    );
  });
});

it('tells which references lead nowhere', () => {
  const references = referencesOf(gatewayWith(everything));
  expect(unresolved(references, () => '')).toEqual([]);
  const missing = unresolved(references, (_kind, name) => (name === 'corp-ca' ? undefined : 'x'));
  expect(missing.map(({ kind, key }) => [kind, key])).toEqual([
    ['ConfigMap', 'ca.crt'],
    ['Secret', 'ca.pem'],
  ]);
});
