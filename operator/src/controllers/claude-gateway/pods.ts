import type { KubeObject, ResourceType } from '../../kube/objects.ts';
import { GATEWAY_CONTAINER } from '../../resources/gateway-container.ts';
import type { PodFacts } from '../../status/facts.ts';

export const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
/** The pods of all gateways. */
export const POD_SELECTOR = 'app.kubernetes.io/name=claude-gateway,app.kubernetes.io/component=gateway';

/** Index of the informer by this name: pods by the key of their gateway. */
export const BY_GATEWAY = 'gateway';

interface Terminated {
  readonly exitCode?: number;
  readonly reason?: string;
  readonly message?: string;
}

interface ContainerStatus {
  readonly name: string;
  readonly restartCount?: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt?: string };
    readonly terminated?: Terminated;
  };
  readonly lastState?: { readonly terminated?: Terminated };
}

/** The parts of a Pod from which it can be told whether it serves, and why not. */
export interface PodObject extends KubeObject {
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime?: string;
    }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** What a cache keeps of a pod. */
export function slimPod({ metadata, status = {} }: PodObject): PodObject {
  const { phase, conditions, containerStatuses } = status;
  return {
    metadata,
    status: {
      ...(phase !== undefined && { phase }),
      ...(conditions && { conditions }),
      ...(containerStatuses && { containerStatuses }),
    },
  };
}

/** The key of the gateway whose pod this is. */
export function gatewayOfPod({ metadata: { namespace = '', labels } }: PodObject): string[] {
  const instance = labels?.['app.kubernetes.io/instance'];
  return instance === undefined ? [] : [`${namespace}/${instance}`];
}

/** @returns undefined for one that is on its way out, or has ended. */
export function podFacts(pod: PodObject): PodFacts | undefined {
  const { metadata, status = {} } = pod;
  if (metadata.deletionTimestamp !== undefined) return undefined;
  if (status.phase === 'Failed' || status.phase === 'Succeeded') return undefined;
  const readiness = status.conditions?.find(({ type }) => type === 'Ready');
  const ready = readiness?.status === 'True';
  const container = status.containerStatuses?.find(({ name }) => name === GATEWAY_CONTAINER);
  const problem = ready || container === undefined ? undefined : problemOf(container, readiness);
  return { name: metadata.name, ready, problem };
}

/** Ordinary states of a container that is about to start. */
const STARTING = new Set(['ContainerCreating', 'PodInitializing']);
const MAX_MESSAGE_CHARACTERS = 600;

/** Told so that it stays the same from one try to the next. */
function problemOf(
  { state = {}, lastState = {}, restartCount = 0 }: ContainerStatus,
  readiness: { readonly lastTransitionTime?: string } | undefined,
): string | undefined {
  const ended = state.terminated ?? lastState.terminated;
  if (ended !== undefined && (state.terminated !== undefined || restartCount > 0)) {
    const what =
      ended.reason === 'OOMKilled' ? 'runs out of memory' : `exits with code ${ended.exitCode ?? 1}`;
    const last = (ended.message ?? '').trim().split('\n').slice(-3).join(' ');
    return `the gateway ${what}${last === '' ? '' : `: ${last.slice(-MAX_MESSAGE_CHARACTERS)}`}`;
  }
  const { reason = '', message } = state.waiting ?? {};
  if (reason === 'ErrImagePull' || reason === 'ImagePullBackOff') return 'its image cannot be pulled';
  if (reason !== '' && !STARTING.has(reason))
    return `${reason}${message === undefined ? '' : `: ${message.slice(0, MAX_MESSAGE_CHARACTERS)}`}`;
  const { startedAt } = state.running ?? {};
  const { lastTransitionTime } = readiness ?? {};
  // It turned so after the container had started: it was ready before.
  if (startedAt !== undefined && lastTransitionTime !== undefined && lastTransitionTime > startedAt)
    return 'it has stopped to answer its readiness probe';
  return undefined;
}
