import { describe, expect, it } from '@jest/globals';
import { difference, hashOf } from './compare.ts';

const container = (extra: object = {}) => ({
  name: 'gateway',
  image: 'gateway:1',
  args: ['--config', 'x'],
  env: [{ name: 'A', value: '1' }],
  ports: [{ containerPort: 8080 }],
  resources: { limits: { cpu: '1000m', 'example.com/gpu': '1' } },
  ...extra,
});
const pod = (...containers: object[]) => ({ spec: { template: { spec: { containers } } } });

describe('hashOf', () => {
  it('does not depend on the order of fields, nor on undefined ones', () => {
    expect(hashOf({ a: 1, b: { c: [1, 2], d: undefined } })).toBe(hashOf({ b: { c: [1, 2] }, a: 1 }));
    expect(hashOf({ a: [1, 2] })).not.toBe(hashOf({ a: [2, 1] }));
    expect(hashOf({ a: '1' })).not.toBe(hashOf({ a: 1 }));
  });
});

describe('difference', () => {
  it('leaves to others what they have put there', () => {
    const sidecar = { name: 'sidecar', image: 'mesh' };
    const live = pod(
      sidecar,
      container({
        env: [
          { name: 'INJECTED', value: 'x' },
          { name: 'A', value: '1' },
        ],
        ports: [{ containerPort: 9090 }, { containerPort: 8080, protocol: 'TCP', name: 'http' }],
        imagePullPolicy: 'IfNotPresent',
      }),
    );
    expect(difference(pod(container()), { ...live, status: { replicas: 1 } }, undefined)).toBeUndefined();
  });

  it.each([
    ['a value', container({ image: 'gateway:2' }), 'spec.template.spec.containers[gateway].image'],
    [
      'a key',
      container({ env: [{ name: 'A', value: '2' }] }),
      'spec.template.spec.containers[gateway].env[A].value',
    ],
    ['an item', container({ env: [] }), 'spec.template.spec.containers[gateway].env[A]'],
    [
      'a port of another protocol',
      container({ ports: [{ containerPort: 8080, protocol: 'UDP' }] }),
      'spec.template.spec.containers[gateway].ports[8080,TCP]',
    ],
    [
      'a list without keys',
      container({ args: ['--config', 'x', 'y'] }),
      'spec.template.spec.containers[gateway].args',
    ],
    [
      'a missing field',
      container({ resources: undefined }),
      'spec.template.spec.containers[gateway].resources',
    ],
    [
      'an amount',
      container({ resources: { limits: { cpu: '1001m', 'example.com/gpu': '1' } } }),
      'spec.template.spec.containers[gateway].resources.limits.cpu',
    ],
    ['a missing container', { name: 'other' }, 'spec.template.spec.containers[gateway]'],
  ])('sees %s', (_, live, path) => {
    expect(difference(pod(container()), pod(live), undefined)).toBe(path);
  });

  it('compares amounts, and only those, by what they mean', () => {
    const live = container({ resources: { limits: { cpu: '1', 'example.com/gpu': '1000m' } } });
    expect(difference(pod(container()), pod(live), undefined)).toBeUndefined();
    expect(difference({ data: { cpu: '1000m' } }, { data: { cpu: '1' } }, undefined)).toBe('data.cpu');
  });

  it('compares sets regardless of order, and other lists as a whole', () => {
    const finalizers = (...list: string[]) => ({ metadata: { finalizers: list } });
    expect(difference(finalizers('a', 'b'), finalizers('c', 'b', 'a'), undefined)).toBeUndefined();
    expect(difference(finalizers('a', 'b'), finalizers('b'), undefined)).toBe('metadata.finalizers[a]');
    const rules = (rule: object) => ({ spec: { rules: [rule] } });
    expect(difference(rules({ a: 1, b: undefined }), rules({ a: 1 }), undefined)).toBeUndefined();
    expect(difference(rules({ a: 1 }), rules({ a: 1, b: 2 }), undefined)).toBe('spec.rules');
  });

  it('takes for granted what the server made of it before, and no other change', () => {
    const desired = { spec: { on: false, rules: [{ a: 1 }], weight: '1.0', stays: true } };
    const answer = { value: { spec: { rules: [{ a: 1, kind: 'Service' }], weight: '1', stays: true } } };
    expect(difference(desired, answer.value, undefined)).toBe('spec.on');
    expect(difference(desired, answer.value, answer)).toBeUndefined();
    const edited = (change: object) => ({ spec: { ...answer.value.spec, ...change } });
    expect(difference(desired, edited({ on: true }), answer)).toBe('spec.on');
    expect(difference(desired, edited({ rules: [{ a: 1, kind: 'Service', b: 2 }] }), answer)).toBe(
      'spec.rules',
    );
    expect(difference(desired, edited({ weight: '2' }), answer)).toBe('spec.weight');
    expect(difference(desired, edited({ stays: undefined }), answer)).toBe('spec.stays');
  });

  it('tells an empty object from none', () => {
    expect(difference({ spec: { podSelector: {} } }, { spec: {} }, undefined)).toBe('spec.podSelector');
    expect(
      difference({ spec: { podSelector: {} } }, { spec: { podSelector: {} } }, undefined),
    ).toBeUndefined();
  });

  it('says nothing about null', () => {
    expect(difference({ a: null, b: undefined }, { a: 1 }, undefined)).toBeUndefined();
  });
});
