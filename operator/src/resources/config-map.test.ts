import { expect, it } from '@jest/globals';
import { configMap } from './config-map.ts';
import { gatewayWith, inputOf } from './testing/inputs.ts';

it('holds gateway.yaml as it was rendered, under a name that stays', () => {
  const input = inputOf(gatewayWith());
  const of = (yaml: string) => configMap({ ...input, rendered: { ...input.rendered, yaml } }).object;
  expect(of('a: 1\n')).toMatchObject({
    metadata: { name: 'main-config' },
    data: { 'gateway.yaml': 'a: 1\n' },
  });
  expect(of('b: 2\n').metadata).toEqual(of('a: 1\n').metadata);
});
