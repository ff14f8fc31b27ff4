import { expect, it } from '@jest/globals';
import { Histogram, Registry } from 'prom-client';
import { TallyHistogram } from './tally-histogram.ts';

const NAMED = { name: 'length_seconds', help: 'Length.' };
const buckets = [0.1, 0.5, 1, 10];

it("says the same as prom-client's own histogram", async () => {
  const [ours, theirs] = [new Registry(), new Registry()];
  const tally = new TallyHistogram({ ...NAMED, labelNames: ['route', 'kind'], buckets, registry: ours });
  const histogram = new Histogram({
    ...NAMED,
    labelNames: ['route', 'kind'],
    buckets,
    registers: [theirs],
  });
  const values = [0, 0.1, 0.1000001, 0.3, 0.5, 0.99, 1, 2, 9, 10, 11, 1e6];
  for (const [index, value] of [...values, ...values].entries()) {
    const labels = [index % 3 === 0 ? 'a' : 'b', index % 2 === 0 ? 'x' : 'with "quotes"\n'] as const;
    tally.child(...labels).observe(value);
    histogram.labels(...labels).observe(value);
  }
  const text = await ours.metrics();
  expect(text).toContain('length_seconds_bucket{le="0.5",');
  expect(text).toBe(await theirs.metrics());
  const json = async (registry: Registry) =>
    (await registry.getMetricsAsJSON()).map(({ name, help, type }) => ({ name, help, type }));
  expect(await json(ours)).toEqual(await json(theirs));
});

it('keeps one child for the same labels', () => {
  const tally = new TallyHistogram({ ...NAMED, labelNames: ['route'], buckets, registry: new Registry() });
  expect(tally.child('a')).toBe(tally.child('a'));
  expect(tally.child('a')).not.toBe(tally.child('b'));
});
