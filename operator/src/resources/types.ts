import type { ResourceType } from '../kube/objects.ts';

const namespaced = (group: string, version: string, kind: string, plural: string): ResourceType => ({
  group,
  version,
  plural,
  kind,
  namespaced: true,
});

export const SECRETS = namespaced('', 'v1', 'Secret', 'secrets');
export const SERVICE_ACCOUNTS = namespaced('', 'v1', 'ServiceAccount', 'serviceaccounts');
export const SERVICES = namespaced('', 'v1', 'Service', 'services');
export const DEPLOYMENTS = namespaced('apps', 'v1', 'Deployment', 'deployments');
export const HORIZONTAL_POD_AUTOSCALERS = namespaced(
  'autoscaling',
  'v2',
  'HorizontalPodAutoscaler',
  'horizontalpodautoscalers',
);
export const POD_DISRUPTION_BUDGETS = namespaced(
  'policy',
  'v1',
  'PodDisruptionBudget',
  'poddisruptionbudgets',
);
export const INGRESSES = namespaced('networking.k8s.io', 'v1', 'Ingress', 'ingresses');
export const NETWORK_POLICIES = namespaced('networking.k8s.io', 'v1', 'NetworkPolicy', 'networkpolicies');
export const HTTP_ROUTES = namespaced('gateway.networking.k8s.io', 'v1', 'HTTPRoute', 'httproutes');
export const SERVICE_MONITORS = namespaced(
  'monitoring.coreos.com',
  'v1',
  'ServiceMonitor',
  'servicemonitors',
);
