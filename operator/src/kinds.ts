import {
  API_GROUP,
  API_VERSION_NAME,
  CLAUDE_GATEWAY,
  MANAGED_SETTINGS,
  SPEND_POLICY,
} from '@claude-gateway/crds';
import type { ResourceType } from './kube/objects.ts';

const typeOf = ({ kind, plural }: { readonly kind: string; readonly plural: string }): ResourceType => ({
  group: API_GROUP,
  version: API_VERSION_NAME,
  plural,
  kind,
  namespaced: true,
});

export const CLAUDE_GATEWAYS = typeOf(CLAUDE_GATEWAY);
export const SPEND_POLICIES = typeOf(SPEND_POLICY);
export const MANAGED_SETTINGS_TYPE = typeOf(MANAGED_SETTINGS);

/**
 * Versions before 0.2 held resources back from deletion by it, until their rows were gone from the databases. Nobody else takes it
 * away, so it is taken off every resource that still has it.
 */
export const FORMER_FINALIZER = `${API_GROUP}/rows`;
/** Owns what the operator applies. */
export const FIELD_MANAGER = 'claude-gateway-operator';
/** Where a child keeps the hash of what was applied last. */
export const HASH_ANNOTATION = `${API_GROUP}/applied`;
