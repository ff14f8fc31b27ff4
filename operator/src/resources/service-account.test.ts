import { expect, it } from '@jest/globals';
import { serviceAccount, serviceAccountName } from './service-account.ts';
import { gatewayWith, inputOf } from './testing/inputs.ts';

it('is named after the gateway, has the annotations that clouds look for, and no token', () => {
  const annotations = { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/a' };
  const input = inputOf(gatewayWith({ serviceAccount: { annotations } }));
  expect(serviceAccountName(input)).toBe('main');
  expect(serviceAccount(input)?.object).toMatchObject({
    metadata: { name: 'main', annotations },
    automountServiceAccountToken: false,
  });
});

it('is left to those who name their own', () => {
  const input = inputOf(gatewayWith({ serviceAccount: { name: 'mine' } }));
  expect(serviceAccount(input)).toBeUndefined();
  expect(serviceAccountName(input)).toBe('mine');
});
