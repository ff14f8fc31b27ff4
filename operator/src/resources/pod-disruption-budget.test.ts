import { expect, it } from '@jest/globals';
import { podDisruptionBudget } from './pod-disruption-budget.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

const of = (podDisruptionBudgetSpec?: object) =>
  specOf(podDisruptionBudget(inputOf(gatewayWith({ podDisruptionBudget: podDisruptionBudgetSpec }))));

it.each([
  [undefined, { maxUnavailable: 1 }],
  [{}, { maxUnavailable: 1 }],
  [{ maxUnavailable: '25%' }, { maxUnavailable: '25%' }],
  [{ maxUnavailable: 0 }, { maxUnavailable: 0 }],
  [{ minAvailable: 2 }, { minAvailable: 2 }],
  [{ minAvailable: 0 }, { minAvailable: 0 }],
])('makes of %j a budget of %j', (wanted, expected) => {
  const { maxUnavailable, minAvailable } = of(wanted);
  expect(JSON.parse(JSON.stringify({ maxUnavailable, minAvailable }))).toEqual(expected);
});

it('never keeps pods that do not work', () => {
  expect(of()['unhealthyPodEvictionPolicy']).toBe('AlwaysAllow');
});
