import { expect, it } from '@jest/globals';
import { horizontalPodAutoscaler } from './horizontal-pod-autoscaler.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

it('is made when it is asked for', () => {
  expect(horizontalPodAutoscaler(inputOf(gatewayWith()))).toBeUndefined();
});

it('scales the Deployment by the CPU use of the gateway, down slowly', () => {
  const autoscaling = { minReplicas: 3, maxReplicas: 12, targetCPUUtilizationPercentage: 70 };
  expect(specOf(horizontalPodAutoscaler(inputOf(gatewayWith({ autoscaling }))))).toMatchObject({
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'main' },
    minReplicas: 3,
    maxReplicas: 12,
    metrics: [{ containerResource: { container: 'gateway', target: { averageUtilization: 70 } } }],
    behavior: { scaleDown: { stabilizationWindowSeconds: 600 } },
  });
});
