import { describe, expect, it } from '@jest/globals';
import { deployment } from './deployment.ts';
import { service } from './service.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

const of = (spec: object) => service(inputOf(gatewayWith(spec)));

describe('service', () => {
  it('has the name of the gateway and selects its pods', () => {
    expect(of({}).object.metadata.name).toBe('main');
    const { selector } = specOf(deployment(inputOf(gatewayWith()))) as { selector: { matchLabels: object } };
    expect(specOf(of({}))['selector']).toEqual(selector.matchLabels);
  });

  it('leads to the port of the pods by its name, and to no other', () => {
    const input = inputOf(gatewayWith({ service: { port: 8000 } }));
    expect(specOf(service(input))['ports']).toEqual([
      { name: 'http', appProtocol: 'http', protocol: 'TCP', port: 8000, targetPort: 'http' },
    ]);
    expect(specOf(of({ listen: { tls: { secretName: 'tls' } } }))['ports']).toMatchObject([
      { name: 'https', appProtocol: 'https', targetPort: 'http' },
    ]);
  });

  it('has a class only as a load balancer', () => {
    const loadBalancerClass = 'corp.example/internal';
    expect(specOf(of({ service: { type: 'LoadBalancer', loadBalancerClass } }))).toMatchObject({
      type: 'LoadBalancer',
      loadBalancerClass,
    });
    expect(specOf(of({ service: { loadBalancerClass } }))).not.toHaveProperty('loadBalancerClass');
  });

  it('carries labels and annotations, and keeps those that it is found by', () => {
    const { metadata } = of({
      service: { labels: { team: 'a', 'app.kubernetes.io/name': 'b' }, annotations: { note: 'c' } },
    }).object;
    expect(metadata.labels).toMatchObject({ team: 'a', 'app.kubernetes.io/name': 'claude-gateway' });
    expect(metadata.annotations).toEqual({ note: 'c' });
  });
});
