import { API_GROUP, DEFAULT_REPLICAS, durationMs } from '@claude-gateway/crds';
import { child, labelsOf, selectorLabels, type Child, type ChildInput } from './child.ts';
import { gatewayContainer } from './gateway-container.ts';
import { mergePodSpec } from './pod-template.ts';
import { REPLICAS_ANNOTATION, replicasBy } from './replicas.ts';
import { serviceAccountName } from './service-account.ts';
import { DEPLOYMENTS } from './types.ts';
import { volumesOf } from './volumes.ts';

/** Where the pods carry what they were started with. */
export const RESTART_ANNOTATION = `${API_GROUP}/restart-hash`;

/** After the last request: the last settlements go to PostgreSQL (15 s at most) and connections are closed. */
const MARGIN_SECONDS = 30;

export function deployment(input: ChildInput): Child {
  const { gateway } = input;
  const { spec } = gateway;
  const content = {
    // With autoscaling, the number belongs to the HorizontalPodAutoscaler; see replicasHandover.
    ...(spec.autoscaling === undefined && { replicas: replicasOf(spec) }),
    revisionHistoryLimit: 5,
    minReadySeconds: 5,
    // Never fewer pods than wanted, since those that leave may take long to finish.
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: '25%' } },
    selector: { matchLabels: selectorLabels(gateway) },
    template: podTemplate(input),
  };
  return child(
    DEPLOYMENTS,
    gateway,
    { spec: content },
    { annotations: { [REPLICAS_ANNOTATION]: replicasBy(gateway) } },
  );
}

/** A definition that is older than this operator has no default, and a Deployment without the field would come down to one pod. */
function replicasOf({ replicas }: { readonly replicas?: number | undefined }): number {
  return replicas ?? DEFAULT_REPLICAS;
}

function podTemplate(input: ChildInput): object {
  const { gateway, restartHash } = input;
  const { metadata, spec } = gateway.spec.podTemplate ?? {};
  return {
    metadata: {
      labels: labelsOf(gateway, metadata?.labels),
      annotations: { ...metadata?.annotations, [RESTART_ANNOTATION]: restartHash },
    },
    spec: mergePodSpec(podSpec(input), spec ?? {}),
  };
}

/** The pods before podTemplate: what the restricted pod security standard asks for, and nothing from the cluster's API. */
function podSpec(input: ChildInput): Readonly<Record<string, unknown>> {
  const { gateway } = input;
  const { shutdown, image } = gateway.spec;
  const volumes = volumesOf(input);
  const leave = (durationMs(shutdown.delay) + durationMs(shutdown.grace)) / 1000;
  const others = {
    labelSelector: { matchLabels: selectorLabels(gateway) },
    // Each revision by itself: the old pods of a rollout do not count.
    matchLabelKeys: ['pod-template-hash'],
  };
  // Over nodes, and over zones where there are any. The scheduler leaves nodes that lack the key of one constraint out of all of them,
  // so a second constraint for zones would switch the first one off where nodes have no zone.
  // https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#implicit-conventions
  const overNodes = {
    ...{ topologyKey: 'kubernetes.io/hostname', maxSkew: 1, whenUnsatisfiable: 'ScheduleAnyway' },
    ...others,
  };
  const overZones = {
    weight: 100,
    podAffinityTerm: { topologyKey: 'topology.kubernetes.io/zone', ...others },
  };
  return {
    serviceAccountName: serviceAccountName(input),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(image?.pullSecrets !== undefined && { imagePullSecrets: image.pullSecrets }),
    // No preStop hook: on SIGTERM the gateway turns its readiness off at once and goes on serving new requests for
    // shutdown.delay, which is what a hook that sleeps is for. The image has no shell either.
    terminationGracePeriodSeconds: leave + MARGIN_SECONDS,
    topologySpreadConstraints: [overNodes],
    affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [overZones] } },
    // The user is that of the image, 65532, or one that the cluster chooses.
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [gatewayContainer(input, volumes)],
    volumes: volumes.volumes,
  };
}
