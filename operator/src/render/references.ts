import type { ClaudeGateway } from '@claude-gateway/crds';
import { assemble } from './document.ts';
import { gatewayContent } from './gateway-content.ts';

/** A key of a Secret or ConfigMap that a spec refers to. */
export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly key: string;
  /** The fields that name it, such as `spec.upstreams[1].anthropic.apiKeySecretRef`. */
  readonly fields: readonly string[];
}

/** The value of a key in the namespace of the gateway. */
export type Resolved = (kind: Reference['kind'], name: string, key: string) => string | undefined;

/** Sorts what names a key of an object. */
export const byObject = (
  one: { readonly kind: string; readonly name: string; readonly key: string },
  other: { readonly kind: string; readonly name: string; readonly key: string },
): number => compare(one.kind, other.kind) || compare(one.name, other.name) || compare(one.key, other.key);

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/**
 * Every value of a Secret or ConfigMap that the configuration of a gateway needs, sorted, each once. Signing keys that
 * the operator makes are not among them, nor what podTemplate names.
 */
export function referencesOf(gateway: ClaudeGateway): readonly Reference[] {
  const found = new Map<string, Reference & { readonly fields: string[] }>();
  for (const { kind, name, key, field } of assemble(gatewayContent(gateway, undefined)).files) {
    const id = `${kind}/${name}/${key}`;
    const reference = found.get(id) ?? { kind, name, key, fields: [] };
    if (!reference.fields.includes(field)) reference.fields.push(field);
    found.set(id, reference);
  }
  return [...found.values()].sort(byObject).map((one) => ({ ...one, fields: one.fields.toSorted() }));
}

/** The references that lead nowhere. */
export function unresolved(references: readonly Reference[], resolved: Resolved): readonly Reference[] {
  return references.filter(({ kind, name, key }) => resolved(kind, name, key) === undefined);
}
