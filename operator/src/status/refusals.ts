import type { RefusedChild } from './facts.ts';

/** Where a ClaudeGateway says what a child of this kind is like. */
const FIELDS: Readonly<Record<string, string>> = {
  Deployment: 'spec.podTemplate, spec.image and spec.replicas',
  Service: 'spec.service',
  ServiceAccount: 'spec.serviceAccount',
  Ingress: 'spec.ingress',
  HTTPRoute: 'spec.httpRoute',
  NetworkPolicy: 'spec.networkPolicy',
  PodDisruptionBudget: 'spec.podDisruptionBudget',
  HorizontalPodAutoscaler: 'spec.autoscaling',
  ServiceMonitor: 'spec.monitoring',
};

/** Which children the API server refuses, why, and what to do. */
export function refusalsInWords(refused: readonly RefusedChild[]): string {
  return refused
    .map(({ kind, name, cause, detail }) => {
      const field = FIELDS[kind];
      const remedies = {
        right: '',
        cluster:
          ` Change what forbids it (a quota, or an admission policy)` +
          `${field === undefined ? '' : `, or ask for something else in ${field}`}.`,
        content: field === undefined ? '' : ` Correct ${field}.`,
      };
      return `The API server refuses ${kind} ${name}: ${ended(detail)}${remedies[cause]}`;
    })
    .join(' ');
}

const ended = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
