import { expect, it } from '@jest/globals';
import { checkConfig } from './check-config.ts';
import { renderConfig } from './gateway-config.ts';
import type { Resolved } from './references.ts';
import { restartHash } from './restart-hash.ts';
import { gatewayWith, GOOD_SPECS, sampleValue, SIGNING_KEYS } from './testing/samples.ts';

const [, , least] = GOOD_SPECS;
const google = {
  identityProviders: [
    {
      ...least.identityProviders[0],
      googleGroups: {
        serviceAccountKeySecretRef: { name: 'g', key: 'account' },
        adminEmail: 'a@corp.example',
      },
    },
  ],
  listen: { tls: { secretName: 'tls' } },
};

function hash(
  more: object,
  resolved: Resolved = sampleValue,
  keys = SIGNING_KEYS.keys as readonly string[],
  uid = 'one',
) {
  const rendered = renderConfig(gatewayWith({ ...least, ...google, ...more }), { ...SIGNING_KEYS, keys });
  const { config, problems } = checkConfig(rendered, sampleValue);
  if (config === undefined) throw new Error(JSON.stringify(problems));
  const loaded = checkConfig(rendered, resolved).config;
  return restartHash(loaded ?? config, rendered, resolved, uid);
}

const having =
  (key: string, value: string): Resolved =>
  (kind, name, one) =>
    one === key ? value : sampleValue(kind, name, one);

it('changes with what a running gateway cannot take over', () => {
  const changes: [object, Resolved?][] = [
    [{}],
    [{ listen: { ...google.listen, port: 9000 } }],
    [{ listen: {} }],
    [{ database: { ...least.database, maxConnections: 6 } }],
    [{}, having('uri', 'postgres://app:secret@db.corp.example/another')],
    [{ requestLimits: { maxHeaderBytes: 10_000 } }],
    [{ retention: { auditDays: 1 } }],
    [{}, having('account', 'other')],
  ];
  const hashes = changes.map(([more, resolved]) => hash(more, resolved));
  expect(new Set(hashes).size).toBe(changes.length);
  for (const one of hashes) expect(one).toMatch(/^[0-9a-f]{64}$/);
});

it('does not change with what it takes over live', () => {
  const changes: [object, Resolved?, (readonly string[])?][] = [
    [{ models: { includeBuiltIn: false } }],
    [{ pricing: { multiplier: '2' } }],
    [{ spend: { warnAtPercent: [1] } }],
    [{ loginNotice: 'Hello.' }],
    [{ session: { ttl: '2h' } }],
    [{ replicas: 7 }],
    [{}, having('client-secret', 'other')],
    [{}, having('api-key', 'other')],
    [{}, having('uri', sampleValue('Secret', 'any', 'uri')!.replace(/:[^:@]+@/, ':rotated@'))],
    [{}, sampleValue, ['k3', 'k2']],
  ];
  for (const change of changes) expect([change, hash(...change)]).toEqual([change, hash({})]);
});

it('is of one gateway, and stays', () => {
  const [one, again, other] = ['one', 'one', 'other'].map((uid) =>
    hash({}, sampleValue, SIGNING_KEYS.keys, uid),
  );
  expect(again).toBe(one);
  expect(other).not.toBe(one);
});

it('takes long to guess, since it has the key of a service account in it', () => {
  const began = process.cpuUsage();
  hash({}, sampleValue, SIGNING_KEYS.keys, 'never seen before');
  const first = process.cpuUsage(began).user;
  const later = process.cpuUsage();
  hash({}, sampleValue, SIGNING_KEYS.keys, 'never seen before');
  expect(first).toBeGreaterThan(2 * process.cpuUsage(later).user);
});
