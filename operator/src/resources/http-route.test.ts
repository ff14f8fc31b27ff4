import { describe, expect, it } from '@jest/globals';
import { httpRoute } from './http-route.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

const wanted = { httpRoute: { parentRefs: [{ name: 'public' }] } };
const of = (spec: object, more = {}) => httpRoute(inputOf(gatewayWith(spec), more));

describe('httpRoute', () => {
  it('is made when it is asked for and the API server has the kind', () => {
    expect(of({})).toBeUndefined();
    expect(of(wanted, { kinds: { httpRoute: false, serviceMonitor: true } })).toBeUndefined();
    expect(of(wanted)?.type.kind).toBe('HTTPRoute');
  });

  it('leads the host of the public URL to the Service, without a limit of time', () => {
    expect(specOf(of({ ...wanted, service: { port: 8000 } }))).toEqual({
      parentRefs: [{ name: 'public' }],
      hostnames: ['claude.corp.example'],
      rules: [
        {
          matches: [{ path: { type: 'PathPrefix', value: '/' } }],
          timeouts: { request: '0s' },
          backendRefs: [{ name: 'main', port: 8000 }],
        },
      ],
    });
  });

  it('names no host where the public URL has an address', () => {
    expect(specOf(of({ ...wanted, publicURL: 'http://192.0.2.1' }))).not.toHaveProperty('hostnames');
  });
});
