import { metricsPortOf } from '../render/metrics-port.ts';
import type { ChildInput } from './child.ts';
import { CONFIG_KEY } from './config-map.ts';
import { CONFIG_DIRECTORY, type Volumes } from './volumes.ts';

/** By this name podTemplate changes the container. */
export const GATEWAY_CONTAINER = 'gateway';
/** The name of its port, whatever the protocol. */
export const HTTP_PORT = 'http';

/** The container that serves, before podTemplate. */
export function gatewayContainer(
  { gateway, image }: ChildInput,
  { volumeMounts }: Volumes,
): Readonly<Record<string, unknown>> {
  const { spec } = gateway;
  const { listen } = spec;
  const probe = (path: string, timing: object) => ({
    httpGet: { path, port: HTTP_PORT, scheme: listen.tls === undefined ? 'HTTP' : 'HTTPS' },
    ...timing,
  });
  return {
    name: GATEWAY_CONTAINER,
    image,
    ...(spec.image?.pullPolicy !== undefined && { imagePullPolicy: spec.image.pullPolicy }),
    args: ['--config', `${CONFIG_DIRECTORY}/${CONFIG_KEY}`],
    // Why a start failed is its last line, and stands in the status of the gateway.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ports: [
      { name: HTTP_PORT, containerPort: listen.port, protocol: 'TCP' },
      { name: 'metrics', containerPort: metricsPortOf(gateway), protocol: 'TCP' },
    ],
    // A start waits for PostgreSQL and for the identity providers.
    startupProbe: probe('/healthz', { periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 60 }),
    readinessProbe: probe('/readyz', { periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 3 }),
    // A restart cuts every stream: only for a process that has long stopped to answer.
    livenessProbe: probe('/healthz', { periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }),
    // No limits: a CPU limit throttles streams, and the right memory limit depends on how many there are.
    resources: { requests: { cpu: '250m', memory: '256Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    },
    volumeMounts,
  };
}
