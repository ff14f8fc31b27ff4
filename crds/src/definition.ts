import { API_GROUP, API_VERSION_NAME } from './api.ts';
import { CLAUDE_GATEWAY } from './claude-gateway.ts';
import type { ResourceKind } from './kind.ts';
import { UNOBSERVED } from './conditions.ts';
import { MANAGED_SETTINGS } from './managed-settings.ts';
import { SPEND_POLICY } from './spend-policy.ts';
import { toStructuralSchema, type StructuralSchema } from './structural-schema.ts';

/** Every kind of the API group. */
export const KINDS: readonly ResourceKind[] = [CLAUDE_GATEWAY, SPEND_POLICY, MANAGED_SETTINGS];

/** A CustomResourceDefinition (apiextensions.k8s.io/v1). */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

/** The schema of whole objects of a kind. */
export function schemaOf(kind: ResourceKind): StructuralSchema {
  return {
    description: kind.description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: toStructuralSchema(kind.spec, 'spec'),
      status: {
        ...toStructuralSchema(kind.status, 'status'),
        default: { observedGeneration: UNOBSERVED },
      },
    },
    ...(kind.rules === undefined ? {} : { 'x-kubernetes-validations': kind.rules }),
  };
}

/** @throws NotStructuralError when a schema says something that a definition cannot. */
export function toDefinition(kind: ResourceKind): CustomResourceDefinition {
  const { plural, singular, shortNames, scale, printerColumns } = kind;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${API_GROUP}` },
    spec: {
      group: API_GROUP,
      scope: 'Namespaced',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        singular,
        shortNames,
        categories: ['claude'],
      },
      versions: [
        {
          name: API_VERSION_NAME,
          served: true,
          storage: true,
          subresources: { status: {}, ...(scale === undefined ? {} : { scale }) },
          additionalPrinterColumns: printerColumns,
          schema: { openAPIV3Schema: schemaOf(kind) },
        },
      ],
    },
  };
}
