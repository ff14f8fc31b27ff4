import { apiVersionOf } from '../kube/objects.ts';
import { child, type Child, type ChildInput } from './child.ts';
import { GATEWAY_CONTAINER } from './gateway-container.ts';
import { DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS } from './types.ts';

/** None when the spec asks for none. */
export function horizontalPodAutoscaler({ gateway }: ChildInput): Child | undefined {
  const { metadata, spec } = gateway;
  if (spec.autoscaling === undefined) return undefined;
  const { minReplicas, maxReplicas, targetCPUUtilizationPercentage } = spec.autoscaling;
  return child(HORIZONTAL_POD_AUTOSCALERS, gateway, {
    spec: {
      scaleTargetRef: {
        apiVersion: apiVersionOf(DEPLOYMENTS),
        kind: DEPLOYMENTS.kind,
        name: metadata.name,
      },
      minReplicas,
      maxReplicas,
      metrics: [
        {
          // Of the gateway alone: a sidecar without a CPU request would make the utilization of the pod unknown.
          type: 'ContainerResource',
          containerResource: {
            name: 'cpu',
            container: GATEWAY_CONTAINER,
            target: { type: 'Utilization', averageUtilization: targetCPUUtilizationPercentage },
          },
        },
      ],
      behavior: {
        scaleUp: {
          stabilizationWindowSeconds: 0,
          selectPolicy: 'Max',
          policies: [
            { type: 'Percent', value: 100, periodSeconds: 30 },
            { type: 'Pods', value: 4, periodSeconds: 30 },
          ],
        },
        // A pod that leaves keeps its streams to their end, for minutes: going down early gains nothing, and going down
        // and up again costs starts. One pod, or a tenth of many, every minute.
        scaleDown: {
          stabilizationWindowSeconds: 600,
          selectPolicy: 'Max',
          policies: [
            { type: 'Percent', value: 10, periodSeconds: 60 },
            { type: 'Pods', value: 1, periodSeconds: 60 },
          ],
        },
      },
    },
  });
}
