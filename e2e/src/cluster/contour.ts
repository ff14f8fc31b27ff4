import type { ClusterIngress } from './cluster.ts';

/** What Contour is called in every cluster that is made for the tests. */
export const CONTOUR: Omit<ClusterIngress, 'address' | 'port'> = {
  ingressClass: 'contour',
  gatewayClass: 'contour',
  gateway: { namespace: 'projectcontour', name: 'contour' },
};
