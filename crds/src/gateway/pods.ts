import { z } from 'zod';
import { atomicList, label, mapList, mapOf, objectName, setOf, text } from '../fields.ts';
import { atMostOneOf, matching, withRules } from '../rules.ts';

const labels = () => mapOf(z.string().max(63), 64);
const annotations = () => mapOf(z.string().max(16_384), 64);

/** Kubernetes documents that the API server judges where they end up. */
const document = () => z.record(z.string(), z.unknown());

export const image = z
  .strictObject({
    repository: text(
      512,
      matching(
        /^[a-z0-9]+([._\/:-]+[a-z0-9]+)*$/,
        'name an image without tag and digest; those are fields of their own',
      ),
    )
      .optional()
      .describe('Image without tag. The one of the operator when left out.'),
    tag: text(128, matching(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/, 'use a tag, such as 0.1.0'))
      .optional()
      .describe("Tag of the image. The operator's own version when left out."),
    digest: text(71, matching(/^sha256:[a-f0-9]{64}$/, 'write sha256: and 64 hexadecimal digits'))
      .optional()
      .describe('Digest of the image; wins over the tag.'),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional().describe('As in a container.'),
    pullSecrets: mapList(z.strictObject({ name: objectName().describe('Name of a Secret.') }), ['name'], 16)
      .optional()
      .describe('Secrets to pull the image with.'),
  })
  .optional()
  .describe('The container image. What is left out comes from the operator.');

export const autoscaling = withRules(
  z.strictObject({
    minReplicas: z.int().min(1).max(1000).default(2).describe('Least number of pods.'),
    maxReplicas: z.int().min(1).max(1000).describe('Greatest number of pods.'),
    targetCPUUtilizationPercentage: z
      .int()
      .min(1)
      .max(1000)
      .default(60)
      .describe('CPU use to aim for, as a percentage of what the pods request.'),
  }),
  {
    rule: 'self.maxReplicas >= self.minReplicas',
    message: 'raise maxReplicas to at least minReplicas',
    field: 'maxReplicas',
    holds: ({ minReplicas, maxReplicas }) => maxReplicas >= minReplicas,
  },
)
  .optional()
  .describe('Let a HorizontalPodAutoscaler choose the number of pods.');

export const service = z
  .strictObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']).default('ClusterIP').describe('As in a Service.'),
    port: z.int().min(1).max(65_535).default(80).describe('Port of the Service.'),
    loadBalancerClass: text(253).optional().describe('As in a Service.'),
    labels: labels().optional().describe('More labels of the Service.'),
    annotations: annotations()
      .optional()
      .describe('Annotations of the Service, such as those of a load balancer.'),
  })
  .prefault({})
  .describe('The Service in front of the pods.');

const host = () =>
  text(
    253,
    matching(
      /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
      'write a host name in lower case, without scheme, port and path',
    ),
  );

export const ingress = z
  .strictObject({
    className: objectName().optional().describe("IngressClass. The cluster's default when left out."),
    hosts: setOf(host(), 16, 1).optional().describe('Hosts to serve. The host of publicURL when left out.'),
    tls: z
      .strictObject({
        secretName: objectName().describe('Secret of type kubernetes.io/tls; cert-manager may write it.'),
      })
      .optional()
      .describe('Terminate TLS in the ingress.'),
    labels: labels().optional().describe('More labels of the Ingress.'),
    annotations: annotations()
      .optional()
      .describe('Annotations of the Ingress, such as those of cert-manager.'),
  })
  .optional()
  .describe('Publish the gateway through an Ingress.');

const parentRef = z.strictObject({
  name: objectName().describe('Name of the Gateway (gateway.networking.k8s.io).'),
  namespace: label().optional().describe('Its namespace. The one of this resource when left out.'),
  sectionName: objectName().optional().describe('Listener of the Gateway. All when left out.'),
  port: z.int().min(1).max(65_535).optional().describe('Port of the listener.'),
});

export const httpRoute = z
  .strictObject({
    parentRefs: atomicList(parentRef, 16, 1).describe('The Gateways to attach to.'),
    hostnames: setOf(host(), 16, 1)
      .optional()
      .describe('Hosts to serve. The host of publicURL when left out.'),
    labels: labels().optional().describe('More labels of the HTTPRoute.'),
    annotations: annotations().optional().describe('Annotations of the HTTPRoute.'),
  })
  .optional()
  .describe('Publish the gateway through an HTTPRoute of the Gateway API.');

const NUMBER_OR_PERCENT = 'write a whole number, or a percentage such as 25%';

/** The schema has no union; the API server checks this one by itself. */
const intOrPercent = () =>
  (z.unknown() as z.ZodType<number | string>)
    .refine(
      (value) => (typeof value === 'number' ? Number.isInteger(value) && value >= 0 : isPercent(value)),
      {
        error: NUMBER_OR_PERCENT,
      },
    )
    .meta({
      'x-kubernetes-int-or-string': true,
      'x-kubernetes-validations': [
        {
          rule: "type(self) == int ? self >= 0 : self.matches(r'^[0-9]{1,3}%$')",
          message: NUMBER_OR_PERCENT,
        },
      ],
      maxLength: 4,
    });

const isPercent = (value: unknown): boolean => typeof value === 'string' && /^[0-9]{1,3}%$/.test(value);

export const podDisruptionBudget = withRules(
  z.strictObject({
    minAvailable: intOrPercent().optional().describe('Pods that must stay: a number, or a percentage.'),
    maxUnavailable: intOrPercent().optional().describe('Pods that may be away: a number, or a percentage.'),
  }),
  atMostOneOf(['minAvailable', 'maxUnavailable'], 'set minAvailable or maxUnavailable, and not both'),
)
  .optional()
  .describe('How many pods may be evicted at a time. One when left out.');

export const networkPolicy = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Whether there is a NetworkPolicy.'),
    ingressFrom: atomicList(document(), 64)
      .optional()
      .describe('Peers (NetworkPolicyPeer) that may reach the port of the gateway. Everybody when left out.'),
    metricsFrom: atomicList(document(), 64)
      .optional()
      .describe('Peers (NetworkPolicyPeer) that may reach the port of its metrics. Everybody when left out.'),
    egress: atomicList(document(), 64)
      .optional()
      .describe('Rules (NetworkPolicyEgressRule) for what the pods may reach. Everything when left out.'),
  })
  .prefault({})
  .describe('The NetworkPolicy of the pods.');

export const monitoring = z
  .strictObject({
    serviceMonitor: z
      .boolean()
      .default(true)
      .describe('Make a ServiceMonitor where the cluster has that kind.'),
    interval: text(8, matching(/^[0-9]{1,4}[ms]$/, 'write a time such as 30s or 1m'))
      .default('30s')
      .describe('How often metrics are scraped.'),
    labels: labels().optional().describe('Labels by which your Prometheus selects ServiceMonitors.'),
  })
  .prefault({})
  .describe('How Prometheus finds the metrics.');

export const serviceAccount = z
  .strictObject({
    name: objectName()
      .optional()
      .describe('An existing ServiceAccount. One is made, named after the gateway, when left out.'),
    annotations: annotations()
      .optional()
      .describe(
        'Annotations of the ServiceAccount that is made, such as the role of IRSA or Workload Identity.',
      ),
  })
  .prefault({})
  .describe('The identity of the pods, in the cluster and towards clouds.');

const container = z
  .looseObject({ name: label().describe('Name of the container; the one of the gateway is gateway.') })
  .describe('A container, or a part of one: resources, env, volumeMounts …');

export const podTemplate = z
  .strictObject({
    metadata: z
      .strictObject({
        labels: labels().optional().describe('More labels of the pods.'),
        annotations: annotations().optional().describe('Annotations of the pods.'),
      })
      .optional()
      .describe('Labels and annotations.'),
    spec: z
      .looseObject({
        containers: mapList(container, ['name'], 16)
          .optional()
          .describe(
            'Containers: what is said of the one named gateway is merged into it, others are sidecars.',
          ),
        initContainers: mapList(container, ['name'], 16).optional().describe('More init containers.'),
        volumes: mapList(z.looseObject({ name: label().describe('Name of the volume.') }), ['name'], 64)
          .optional()
          .describe('More volumes.'),
      })
      .optional()
      .describe(
        'Part of a PodSpec, as a patch: resources, affinity, tolerations, topologySpreadConstraints, env … Lists are merged by name.',
      ),
  })
  .optional()
  .describe('What is changed in the pods that the operator makes.');
