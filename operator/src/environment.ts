import { FIELD_MANAGER } from './kinds.ts';

/** What the operator is told by its environment. */
export interface OperatorEnvironment {
  /** Of this process and no other. */
  readonly podName: string;
  /** Where the Lease is. */
  readonly podNamespace: string;
  /** Of all replicas of this operator, and of no other in the namespace: names their Lease. */
  readonly operatorName: string;
  /** Empty: all. */
  readonly watchNamespaces: readonly string[];
  readonly leaderElection: boolean;
  /** The image of gateways that name none. */
  readonly gatewayImage: string;
  readonly logLevel: string;
  readonly healthPort: number;
  readonly metricsPort: number;
  /** In a pod, the service account; elsewhere the kubeconfig. */
  readonly inCluster: boolean;
}

/** One line for each variable that makes no sense, with the remedy. */
export class EnvironmentError extends Error {
  override readonly name = 'EnvironmentError';
}

const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'];

/** @throws EnvironmentError with all problems at once. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): OperatorEnvironment {
  const problems: string[] = [];
  const required = (name: string, remedy: string): string => {
    const value = env[name] ?? '';
    if (value === '') problems.push(`${name} is not set: ${remedy}`);
    return value;
  };
  const port = (name: string, fallback: number): number => {
    const value = env[name] ?? '';
    if (value === '') return fallback;
    if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value);
    problems.push(`${name} is "${value}": write a port, from 0 (any free one) to 65535`);
    return fallback;
  };
  const oneOf = (name: string, values: readonly string[], fallback: string): string => {
    const value = env[name] || fallback;
    if (values.includes(value)) return value;
    problems.push(`${name} is "${value}": write ${values.slice(0, -1).join(', ')} or ${values.at(-1)}`);
    return fallback;
  };

  const watchNamespaces = (env['WATCH_NAMESPACES'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const name of watchNamespaces)
    if (!NAMESPACE.test(name))
      problems.push(
        `WATCH_NAMESPACES names "${name}", which no namespace can be called: separate names by commas`,
      );

  const result: OperatorEnvironment = {
    podName: required('POD_NAME', 'give the name of the pod, by the downward API'),
    podNamespace: required('POD_NAMESPACE', 'give the namespace of the pod, by the downward API'),
    operatorName: env['OPERATOR_NAME'] || FIELD_MANAGER,
    watchNamespaces: [...new Set(watchNamespaces)].sort(),
    leaderElection: oneOf('LEADER_ELECTION', ['true', 'false'], 'true') === 'true',
    gatewayImage: required(
      'GATEWAY_IMAGE',
      'name the image that gateways run, such as registry.example/claude-gateway:0.1.0',
    ),
    logLevel: oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
    healthPort: port('HEALTH_PORT', 8081),
    metricsPort: port('METRICS_PORT', 9090),
    inCluster: (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '' && (env['KUBECONFIG'] ?? '') === '',
  };
  if (problems.length > 0) throw new EnvironmentError(problems.join('\n'));
  return result;
}
