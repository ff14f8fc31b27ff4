/** The API group of every kind here. */
export const API_GROUP = 'claudegateway.dev';
export const API_VERSION_NAME = 'v1alpha1';
/** What stands in `apiVersion`. */
export const API_VERSION = `${API_GROUP}/${API_VERSION_NAME}` as const;

/** Metadata as it travels: times are the strings that the server sent. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  /** Goes up with every change of the spec. */
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
}

/** One object of a kind, as the API server hands it out: with every default of the spec in place. */
export interface CustomResource<Kind extends string, Spec, Status> {
  apiVersion: typeof API_VERSION;
  kind: Kind;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}
