import type { ClaudeGateway } from '@claude-gateway/crds';
import type { Followed } from '../../kube/controller.ts';
import type { Informer } from '../../kube/informer.ts';
import type { KubeObject, ResourceType } from '../../kube/objects.ts';
import type { PodObject } from './pods.ts';
import { referencesOf, type Reference, type Resolved } from '../../render/references.ts';

/** The parts of a Secret and of a ConfigMap that references lead to. */
export interface DataObject extends KubeObject {
  readonly type?: string;
  /** Of a Secret in base64, of a ConfigMap as it is. */
  readonly data?: Readonly<Record<string, string>>;
  /** Of a ConfigMap, in base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** Of a Deployment, what its owner's status is made from. */
export interface DeploymentObject extends KubeObject {
  readonly spec?: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

/** An informer of children; of a kind that may be missing, the cache is empty then. */
export type ChildInformer = Followed<KubeObject> & { get(key: string): KubeObject | undefined };

export interface GatewayInformers {
  readonly gateways: Informer<ClaudeGateway>;
  readonly secrets: Informer<DataObject>;
  readonly configMaps: Informer<DataObject>;
  readonly pods: Pick<Informer<PodObject>, 'byIndex'>;
  /** By plural, ConfigMaps and Secrets left out. */
  readonly children: ReadonlyMap<string, ChildInformer>;
  /** Whether the API server has a kind that it may not have. */
  readonly present: (plural: string) => boolean;
}

/** The cache of a kind of child. */
export function childInformer({ children, configMaps }: GatewayInformers, type: ResourceType): ChildInformer {
  const found = type.plural === configMaps.type.plural ? configMaps : children.get(type.plural);
  if (found === undefined) throw new Error(`there is no informer of ${type.plural}`);
  return found;
}

/** Reads references in the caches, in the namespace of a gateway. */
export function resolver({ secrets, configMaps }: GatewayInformers, { metadata }: ClaudeGateway): Resolved {
  const prefix = `${metadata.namespace ?? ''}/`;
  return (kind, name, key) => {
    if (kind === 'Secret') return decode(secrets.get(prefix + name)?.data?.[key]);
    const map = configMaps.get(prefix + name);
    return map?.data?.[key] ?? decode(map?.binaryData?.[key]);
  };
}

/** The keys of the gateways that refer to an object of this kind and name. */
export function gatewaysReferring(
  gateways: Iterable<ClaudeGateway>,
  kind: Reference['kind'],
  object: KubeObject,
): string[] {
  const { namespace = '', name } = object.metadata;
  const keys: string[] = [];
  for (const gateway of gateways) {
    if (gateway.metadata.namespace !== namespace) continue;
    if (namesOf(gateway, kind).has(name)) keys.push(`${namespace}/${gateway.metadata.name}`);
  }
  return keys;
}

/** Objects of a cache never change, so each is searched once. */
const referred = new WeakMap<ClaudeGateway, Readonly<Record<Reference['kind'], ReadonlySet<string>>>>();

function namesOf(gateway: ClaudeGateway, kind: Reference['kind']): ReadonlySet<string> {
  let names = referred.get(gateway);
  if (names === undefined) {
    const references = referencesOf(gateway);
    const of = (wanted: Reference['kind']): Set<string> =>
      new Set(references.filter((one) => one.kind === wanted).map(({ name }) => name));
    names = { Secret: of('Secret'), ConfigMap: of('ConfigMap') };
    referred.set(gateway, names);
  }
  return names[kind];
}

function decode(base64: string | undefined): string | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('utf8');
}
