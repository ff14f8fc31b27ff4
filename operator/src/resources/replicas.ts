import { API_GROUP, type ClaudeGateway } from '@claude-gateway/crds';
import { FIELD_MANAGER } from '../kinds.ts';
import { apiVersionOf, type KubeObject } from '../kube/objects.ts';
import { DEPLOYMENTS } from './types.ts';

/** Says who chooses the number of pods of a Deployment. */
export const REPLICAS_ANNOTATION = `${API_GROUP}/replicas-by`;
/** Owns the number of pods until the HorizontalPodAutoscaler changes it for the first time. */
export const REPLICAS_MANAGER = `${FIELD_MANAGER}-replicas`;

export const replicasBy = ({ spec }: ClaudeGateway): 'ClaudeGateway' | 'HorizontalPodAutoscaler' =>
  spec.autoscaling === undefined ? 'ClaudeGateway' : 'HorizontalPodAutoscaler';

/**
 * What is to be applied by {@link REPLICAS_MANAGER} before the Deployment itself, at the moment that autoscaling is switched on.
 * A field that its only owner leaves out of an apply is removed, and the API server would make 1 of the number of pods.
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
 *
 * @param live the Deployment as it is.
 * @returns undefined when there is nothing to hand over.
 */
export function replicasHandover(
  gateway: ClaudeGateway,
  live: (KubeObject & { readonly spec?: { readonly replicas?: number } }) | undefined,
): KubeObject | undefined {
  const replicas = live?.spec?.replicas;
  if (live === undefined || replicas === undefined) return undefined;
  if (live.metadata.ownerReferences?.some(({ uid }) => uid === gateway.metadata.uid) !== true)
    return undefined;
  if (replicasBy(gateway) === 'ClaudeGateway') return undefined;
  if (live.metadata.annotations?.[REPLICAS_ANNOTATION] === replicasBy(gateway)) return undefined;
  const { name, namespace, uid } = live.metadata;
  const document: KubeObject & { spec: object } = {
    apiVersion: apiVersionOf(DEPLOYMENTS),
    kind: DEPLOYMENTS.kind,
    // With the uid, an apply never makes a Deployment of nothing but a number.
    metadata: { name, ...(namespace !== undefined && { namespace }), ...(uid !== undefined && { uid }) },
    spec: { replicas },
  };
  return document;
}
