import type { ClaudeGateway } from '@claude-gateway/crds';
import { CLAUDE_GATEWAYS } from '../kinds.ts';
import { apiVersionOf, ownerReference, type KubeObject, type ResourceType } from '../kube/objects.ts';
import type { RenderedConfig } from '../render/gateway-config.ts';

/** All that the children of a gateway are made from. */
export interface ChildInput {
  readonly gateway: ClaudeGateway;
  readonly rendered: RenderedConfig;
  /** Changes when the pods have to be replaced to take over what has changed. */
  readonly restartHash: string;
  /** Reference of the image, as {@link imageOf} makes it. */
  readonly image: string;
  /** Whether the API server has the kinds that it may not have. */
  readonly kinds: { readonly httpRoute: boolean; readonly serviceMonitor: boolean };
}

export interface Child {
  readonly type: ResourceType;
  readonly object: KubeObject;
}

/** An object whose content has not been given a type of its own. */
export type Manifest = KubeObject & { readonly [field: string]: unknown };

type Labels = Readonly<Record<string, string>>;

/** What selects the pods of a gateway, and its Service. It never changes: the selector of a Deployment is immutable. */
export const selectorLabels = ({ metadata: { name } }: ClaudeGateway): Record<string, string> => ({
  'app.kubernetes.io/name': 'claude-gateway',
  'app.kubernetes.io/instance': name,
  'app.kubernetes.io/component': 'gateway',
});

/** The selector as text, for the scale subresource. */
export const selectorOf = (gateway: ClaudeGateway): string =>
  Object.entries(selectorLabels(gateway))
    .map(([label, value]) => `${label}=${value}`)
    .join(',');

/** What people add may replace everything but what is selected by. */
export const labelsOf = (gateway: ClaudeGateway, more?: Labels): Record<string, string> => ({
  'app.kubernetes.io/part-of': 'claude-gateway',
  ...more,
  ...selectorLabels(gateway),
});

/**
 * A child of `gateway` with its name, namespace, labels and owner.
 *
 * @throws Error when the gateway has no uid yet.
 */
export function child(
  type: ResourceType,
  gateway: ClaudeGateway,
  content: Readonly<Record<string, unknown>>,
  more: {
    /** The one of the gateway when absent. */
    readonly name?: string | undefined;
    readonly labels?: Labels | undefined;
    readonly annotations?: Labels | undefined;
  } = {},
): Child & { readonly object: Manifest } {
  const { name, namespace } = gateway.metadata;
  const { annotations = {} } = more;
  const object: Manifest = {
    apiVersion: apiVersionOf(type),
    kind: type.kind,
    metadata: {
      name: more.name ?? name,
      ...(namespace !== undefined && { namespace }),
      labels: labelsOf(gateway, more.labels),
      ...(Object.keys(annotations).length > 0 && { annotations: { ...annotations } }),
      ownerReferences: [ownerReference(CLAUDE_GATEWAYS, gateway)],
    },
    ...content,
  };
  return { type, object };
}
