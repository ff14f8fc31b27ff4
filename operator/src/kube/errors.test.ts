import { describe, expect, it } from '@jest/globals';
import { DEPLOYMENTS } from '../resources/types.ts';
import { classify, KubeError, reasonOrError } from './errors.ts';

const call = { verb: 'patch', type: DEPLOYMENTS, namespace: 'claude', name: 'main' };

describe('an error of the API server', () => {
  it.each([
    [
      500,
      'failed to convert new object (claude/main; apps/v1, Kind=Deployment) to proper version',
      'invalid',
    ],
    [
      500,
      'failed to create typed patch object (claude/main; apps/v1): .spec.x: field not declared',
      'invalid',
    ],
    [500, 'etcdserver: request timed out', 'unavailable'],
    [503, 'the server is currently unable to handle the request', 'unavailable'],
    [422, 'Deployment.apps "main" is invalid', 'invalid'],
  ])('%i %s is %s', (status, detail, kind) => {
    expect(classify(status, 'InternalError', detail)).toBe(kind);
  });

  it('says how to grant a right where one is missing, and not where a quota forbids', () => {
    const missing = new KubeError(
      call,
      403,
      'deployments.apps "main" is forbidden: User "operator" cannot patch resource "deployments" in API group "apps"',
    );
    expect(missing.message).toMatch(/grant the service account verb "patch"/);
    const quota = new KubeError(call, 403, 'services "main" is forbidden: exceeded quota: few');
    expect(quota.message).not.toMatch(/grant/);
    expect(quota.kind).toBe('forbidden');
  });

  it('leaves no stack in the log; a defect does', () => {
    expect(reasonOrError(new KubeError(call, 422, 'is invalid'))).toEqual({
      reason: 'cannot patch deployments.apps "main" in namespace claude: is invalid',
    });
    const defect = new TypeError('x is not a function');
    expect(reasonOrError(defect)).toEqual({ err: defect });
  });
});
