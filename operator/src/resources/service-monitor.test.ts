import { expect, it } from '@jest/globals';
import { service } from './service.ts';
import { serviceMonitor } from './service-monitor.ts';
import { gatewayWith, inputOf, specOf } from './testing/inputs.ts';

it.each([
  ['nobody wants it', { monitoring: { serviceMonitor: false } }, {}],
  ['there is no such kind', {}, { kinds: { httpRoute: true, serviceMonitor: false } }],
])('is not made when %s', (_, spec, more) => {
  expect(serviceMonitor(inputOf(gatewayWith(spec), more))).toBeUndefined();
});

it('has the pods behind the Service scraped, at the port of metrics', () => {
  const monitoring = { interval: '1m', labels: { release: 'prometheus' } };
  const input = inputOf(gatewayWith({ monitoring }));
  const found = serviceMonitor(input);
  expect(found?.object.metadata.labels).toMatchObject({ release: 'prometheus' });
  const { selector, endpoints } = specOf(found) as { selector: { matchLabels: object }; endpoints: object };
  expect(service(input).object.metadata.labels).toMatchObject(selector.matchLabels);
  expect(endpoints).toEqual([{ targetPort: 9464, path: '/metrics', interval: '1m' }]);
});
