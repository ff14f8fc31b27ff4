import { describe, expect, it } from '@jest/globals';
import { networkPolicy } from './network-policy.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

const of = (policy: object, more = {}) =>
  networkPolicy(inputOf(gatewayWith({ listen: { port: 8443 }, networkPolicy: policy }), more));
const port = (number: number) => [{ protocol: 'TCP', port: number }];

/** Unless it is told otherwise. */
const METRICS = { ports: port(9464) };

describe('networkPolicy', () => {
  it('lets everybody reach the port, and the pods reach everything', () => {
    const spec = specOf(of({}));
    expect(spec).toMatchObject({ policyTypes: ['Ingress'], ingress: [{ ports: port(8443) }, METRICS] });
    expect(spec).not.toHaveProperty('egress');
  });

  it('can be switched off', () => {
    expect(of({ enabled: false })).toBeUndefined();
  });

  it('lets in whom it is told, and nobody of an empty list', () => {
    const from = [{ podSelector: {} }];
    expect(specOf(of({ ingressFrom: from }))['ingress']).toEqual([{ from, ports: port(8443) }, METRICS]);
    expect(specOf(of({ ingressFrom: [] }))['ingress']).toEqual([METRICS]);
    expect(specOf(of({ metricsFrom: from }))['ingress']).toEqual([
      { ports: port(8443) },
      { from, ...METRICS },
    ]);
    expect(specOf(of({ ingressFrom: [], metricsFrom: [] }))['ingress']).toEqual([]);
  });

  it('limits egress when it is told to, to nothing too', () => {
    const egress = [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }] }];
    expect(specOf(of({ egress }))).toMatchObject({ policyTypes: ['Egress', 'Ingress'], egress });
    expect(specOf(of({ egress: [] }))).toMatchObject({ policyTypes: ['Egress', 'Ingress'], egress: [] });
  });
});
