import {
  API_VERSION,
  parseManifest,
  type ClaudeGateway,
  type ManagedSettings,
  type ManagedSettingsSpecInput,
  type SpendPolicy,
  type SpendPolicySpecInput,
} from '@claude-gateway/crds';
import { SAMPLES } from '@claude-gateway/crds/testing';

const NAMESPACE = 'claude';

/** A gateway with a database of its own, unless it is given one. */
export function gateway(
  name: string,
  spec: {
    readonly database?: string;
    readonly managedSettingsMode?: 'FirstMatch' | 'Layered';
    readonly namespace?: string;
  } = {},
): ClaudeGateway {
  const { database = name, managedSettingsMode, namespace = NAMESPACE } = spec;
  const resource = parseManifest({
    apiVersion: API_VERSION,
    kind: 'ClaudeGateway',
    metadata: { name, namespace },
    spec: {
      ...SAMPLES.ClaudeGateway[2],
      database: { urlSecretRef: { name: `database-${database}`, key: 'url' } },
      ...(managedSettingsMode !== undefined && { managedSettingsMode }),
    },
  });
  if (resource?.kind !== 'ClaudeGateway') throw new Error('the manifest is no ClaudeGateway');
  return resource;
}

/** As the API server would hand it out. */
export function spendPolicy(name: string, spec: SpendPolicySpecInput): SpendPolicy {
  const resource = parseManifest({
    apiVersion: API_VERSION,
    kind: 'SpendPolicy',
    metadata: { name, namespace: NAMESPACE },
    spec,
  });
  if (resource?.kind !== 'SpendPolicy') throw new Error('the manifest is no SpendPolicy');
  return { ...resource, metadata: { ...resource.metadata, uid: `uid-of-${name}` } };
}

/** As the API server would hand it out. Without documents it has empty settings. */
export function managedSettings(name: string, spec: ManagedSettingsSpecInput): ManagedSettings {
  const resource = parseManifest({
    apiVersion: API_VERSION,
    kind: 'ManagedSettings',
    metadata: { name, namespace: NAMESPACE },
    spec: spec.desktop === undefined ? { settings: {}, ...spec } : spec,
  });
  if (resource?.kind !== 'ManagedSettings') throw new Error('the manifest is no ManagedSettings');
  return { ...resource, metadata: { ...resource.metadata, uid: `uid-of-${name}` } };
}

export const uidOf = (name: string): string => `uid-of-${name}`;
