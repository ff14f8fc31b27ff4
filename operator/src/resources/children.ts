import { CONFIG_MAPS, type ResourceType } from '../kube/objects.ts';
import type { Child, ChildInput } from './child.ts';
import { configMap } from './config-map.ts';
import { deployment } from './deployment.ts';
import { horizontalPodAutoscaler } from './horizontal-pod-autoscaler.ts';
import { httpRoute } from './http-route.ts';
import { ingress } from './ingress.ts';
import { networkPolicy } from './network-policy.ts';
import { podDisruptionBudget } from './pod-disruption-budget.ts';
import { service } from './service.ts';
import { serviceAccount } from './service-account.ts';
import { serviceMonitor } from './service-monitor.ts';
import {
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  HTTP_ROUTES,
  INGRESSES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICE_MONITORS,
  SERVICES,
} from './types.ts';

export type { Child, ChildInput } from './child.ts';

/** In the order in which they are applied: pods come after what they mount, run as and are protected by. */
const BUILDERS: readonly (readonly [ResourceType, (input: ChildInput) => Child | undefined])[] = [
  [SERVICE_ACCOUNTS, serviceAccount],
  [CONFIG_MAPS, configMap],
  [NETWORK_POLICIES, networkPolicy],
  [SERVICES, service],
  [POD_DISRUPTION_BUDGETS, podDisruptionBudget],
  [DEPLOYMENTS, deployment],
  [HORIZONTAL_POD_AUTOSCALERS, horizontalPodAutoscaler],
  [INGRESSES, ingress],
  [HTTP_ROUTES, httpRoute],
  [SERVICE_MONITORS, serviceMonitor],
];

/** Every kind that {@link childrenOf} may make. */
export const CHILD_TYPES: readonly ResourceType[] = BUILDERS.map(([type]) => type);

/** Kinds without which pods do not start, or would start unprotected. */
export const PREREQUISITES: ReadonlySet<string> = new Set(
  [SERVICE_ACCOUNTS, CONFIG_MAPS, NETWORK_POLICIES, SECRETS].map(({ kind }) => kind),
);

/** Those of them that an API server may not have. */
export const OPTIONAL_CHILD_TYPES: readonly ResourceType[] = [HTTP_ROUTES, SERVICE_MONITORS];

/**
 * All children of a gateway but the Secret of its signing keys, in the order in which they are to be applied. Equal input gives
 * equal children.
 *
 * @throws Error when the gateway has no uid yet.
 */
export const childrenOf = (input: ChildInput): readonly Child[] =>
  BUILDERS.flatMap(([, build]) => build(input) ?? []);
