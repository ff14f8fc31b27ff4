/** Metadata as it travels: unlike client-node's V1ObjectMeta, times stay the strings that the server sent. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** Whatever the API server keeps. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** Where objects of one kind live in the API. */
export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** `v1` or `apps/v1`. */
export function apiVersionOf({ group, version }: ResourceType): string {
  return group === '' ? version : `${group}/${version}`;
}

/** The path of one object (with `name`) or of a collection. */
export function pathOf(type: ResourceType, namespace?: string, name?: string, subresource?: string): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope =
    type.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const object = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}${scope}/${type.plural}${object}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** The key of an object in caches and queues: `namespace/name`, or `name` where there is no namespace. */
export function keyOf({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The inverse of keyOf. */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The reference that makes `owner` the controller of a child, so that deleting it collects the child. */
export function ownerReference(type: ResourceType, owner: KubeObject): OwnerReference {
  const { name, uid } = owner.metadata;
  if (uid === undefined) throw new Error(`${type.kind} ${name} has no uid yet, so it cannot own anything`);
  return {
    apiVersion: apiVersionOf(type),
    kind: type.kind,
    name,
    uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Who controls an object: of its owners there is at most one. */
export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}

/** For people: `Deployment "main" in namespace prod`. */
export function describeObject({ kind }: ResourceType, { namespace, name }: ObjectMeta): string {
  return `${kind} "${name}"${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
}

/** metav1.MicroTime, which is read with six digits and no others. */
export function microTime(time: Date): string {
  return time.toISOString().replace('Z', '000Z');
}

/**
 * Whether resourceVersion `a` is later than `b`, both of one kind. They are numbers that grow (KEP-5504); of two that are
 * not, neither is later.
 */
export function isLater(a: string | undefined, b: string | undefined): boolean {
  const [left = '', right = ''] = [a, b];
  if (!/^[1-9]\d*$/.test(left) || !/^[1-9]\d*$/.test(right)) return false;
  return left.length === right.length ? left > right : left.length > right.length;
}

export const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};

export const EVENTS: ResourceType = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
};

export const LEASES: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
};
