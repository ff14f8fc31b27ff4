import { describe, expect, it } from '@jest/globals';
import { ingress } from './ingress.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

const of = (spec: object) => ingress(inputOf(gatewayWith({ ingress: {}, ...spec })));
const NGINX = 'nginx.ingress.kubernetes.io';
const annotationsOf = (spec: object) => of(spec)?.object.metadata.annotations;

describe('ingress', () => {
  it('is made when it is asked for', () => {
    expect(ingress(inputOf(gatewayWith()))).toBeUndefined();
    expect(of({})?.object.metadata.name).toBe('main');
  });

  it('serves the host of the public URL', () => {
    expect(specOf(of({ publicURL: 'https://Corp.example:8443/' }))).toMatchObject({
      rules: [{ host: 'corp.example', http: { paths: [{ path: '/', pathType: 'Prefix' }] } }],
    });
  });

  it('serves every host when the public URL has an address for one', () => {
    for (const publicURL of ['http://192.0.2.1', 'http://[2001:db8::1]:80'])
      expect(specOf(of({ publicURL }))['rules']).toEqual([{ http: expect.anything() as unknown }]);
  });

  it('serves the hosts that are named, sorted, with their certificate', () => {
    const spec = specOf(of({ ingress: { hosts: ['b.example', 'a.example'], tls: { secretName: 'tls' } } }));
    expect(spec).toMatchObject({
      tls: [{ hosts: ['a.example', 'b.example'], secretName: 'tls' }],
      rules: [{ host: 'a.example' }, { host: 'b.example' }],
    });
  });

  it('lets streams through nginx and Contour, unless people say otherwise', () => {
    expect(annotationsOf({ requestLimits: { maxBodyBytes: 7 } })).toEqual({
      'projectcontour.io/response-timeout': 'infinity',
      [`${NGINX}/proxy-buffering`]: 'off',
      [`${NGINX}/proxy-request-buffering`]: 'off',
      [`${NGINX}/proxy-read-timeout`]: '3600',
      [`${NGINX}/proxy-send-timeout`]: '3600',
      [`${NGINX}/proxy-body-size`]: '7',
    });
    const own = { [`${NGINX}/proxy-buffering`]: 'on', 'cert-manager.io/issuer': 'corp' };
    expect(annotationsOf({ ingress: { annotations: own } })).toMatchObject(own);
  });

  it('speaks TLS to pods that do', () => {
    expect(annotationsOf({ listen: { tls: { secretName: 'tls' } } })?.[`${NGINX}/backend-protocol`]).toBe(
      'HTTPS',
    );
  });
});
