import { describe, expect, it } from '@jest/globals';
import { gatewayStatus } from './gateway-status.ts';
import { managedSettingsStatus } from './managed-settings-status.ts';
import { spendPolicyStatus } from './spend-policy-status.ts';
import { argoHealthOf } from './testing/argo-health.ts';
import { GATEWAYS, NOW, POLICIES, SETTINGS } from './testing/gallery.ts';
import { kstatusOf, type KStatus } from './testing/kstatus.ts';

const metadata = (name: string) => ({ name, namespace: 'claude', generation: 3 });

/** Every resource of the gallery, with its status. */
const shown = [
  ...GATEWAYS.map(({ resource, facts }) => {
    const gateway = { ...resource, metadata: metadata(resource.metadata.name) };
    return { ...gateway, status: gatewayStatus({ ...facts, gateway }, [], NOW) };
  }),
  ...POLICIES.map(({ resource, facts }) => {
    const policy = { ...resource, metadata: metadata(resource.metadata.name) };
    return { ...policy, status: spendPolicyStatus({ ...facts, policy }, [], NOW) };
  }),
  ...SETTINGS.map(({ resource, facts }) => {
    const settings = { ...resource, metadata: metadata(resource.metadata.name) };
    return { ...settings, status: managedSettingsStatus({ ...facts, settings }, [], NOW) };
  }),
];

const EXPECTED: Readonly<Record<string, readonly [KStatus, string]>> = {
  'ClaudeGateway main': ['Current', 'Healthy'],
  'ClaudeGateway blind': ['Current', 'Healthy'],
  // Waited for: it goes on by itself.
  'ClaudeGateway missing': ['InProgress', 'Progressing'],
  'ClaudeGateway cut-off': ['InProgress', 'Progressing'],
  'ClaudeGateway rolling': ['InProgress', 'Progressing'],
  'ClaudeGateway paused': ['InProgress', 'Progressing'],
  // Refused, although pods with the last good spec serve.
  'ClaudeGateway invalid': ['Failed', 'Degraded'],
  'ClaudeGateway refused': ['Failed', 'Degraded'],
  'ClaudeGateway taken': ['Failed', 'Degraded'],
  'ClaudeGateway crashing': ['Failed', 'Degraded'],
  'ClaudeGateway stuck': ['Failed', 'Degraded'],
  'ClaudeGateway quota': ['Failed', 'Degraded'],
  'SpendPolicy everybody': ['Current', 'Healthy'],
  'SpendPolicy ci': ['Current', 'Healthy'],
  'SpendPolicy misspelt': ['Current', 'Healthy'],
  'SpendPolicy half-lost': ['Current', 'Healthy'],
  'SpendPolicy contractors': ['InProgress', 'Progressing'],
  'SpendPolicy research-lead': ['InProgress', 'Progressing'],
  'SpendPolicy cut-off': ['InProgress', 'Progressing'],
  'SpendPolicy fresh': ['InProgress', 'Progressing'],
  'SpendPolicy lost': ['InProgress', 'Progressing'],
  'SpendPolicy unknown': ['InProgress', 'Progressing'],
  'SpendPolicy broken': ['Failed', 'Degraded'],
  'ManagedSettings everybody': ['Current', 'Healthy'],
  'ManagedSettings contractors': ['InProgress', 'Progressing'],
  'ManagedSettings ci': ['Failed', 'Degraded'],
};

describe('the health of a resource', () => {
  it('is known of every exhibit', () => {
    expect(shown.map(({ kind, metadata: { name } }) => `${kind} ${name}`).sort()).toEqual(
      Object.keys(EXPECTED).sort(),
    );
  });

  it.each(shown.map((one) => [`${one.kind} ${one.metadata.name}`, one] as const))(
    'as kstatus and Argo CD read it: %s',
    (name, object) => {
      const [kstatus, argo] = EXPECTED[name] ?? [];
      expect(kstatusOf(object)).toBe(kstatus);
      const health = argoHealthOf(object);
      expect(health.status).toBe(argo);
      const decisive = object.status.conditions?.find(({ type }) =>
        argo === 'Degraded' ? type === 'Stalled' : type === 'Ready',
      );
      if (argo === 'Degraded') expect(health.message).toBe(decisive?.message);
      expect(health.message).not.toBe('');
      // A new spec, which nobody has looked at.
      const edited = { ...object, metadata: { ...object.metadata, generation: 4 } };
      expect([kstatusOf(edited), argoHealthOf(edited).status]).toEqual(['InProgress', 'Progressing']);
      // As the API server makes it: the definition gives the status a default.
      const fresh = { ...object, status: { observedGeneration: -1 } };
      expect([kstatusOf(fresh), argoHealthOf(fresh).status]).toEqual(['InProgress', 'Progressing']);
      const bare = { ...object, status: undefined };
      expect(argoHealthOf(bare).status).toBe('Progressing');
    },
  );
});
