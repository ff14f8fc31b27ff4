import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ManagedSettings, SpendPolicy, SpendPolicySpecInput } from '@claude-gateway/crds';
import { settingsConflicts } from './settings-conflicts.ts';
import { spendConflicts } from './spend-conflicts.ts';
import { gateway, managedSettings, spendPolicy, uidOf } from './testing/policies.ts';
import { WorkCounter } from './testing/work.ts';

const counter = new WorkCounter();
beforeAll(() => counter.start());
afterAll(() => counter.stop());

/** For five times as many: it is 5 when work is linear, and 25 when each is compared with each. */
const ALMOST_LINEAR = 7;

const gateways = Array.from({ length: 10 }, (_, i) => gateway(`gateway-${i}`));
const ENG = { kind: 'Group', name: 'eng' } as const;

function manyPolicies(count: number, spec: (index: number) => Partial<SpendPolicySpecInput>): SpendPolicy[] {
  const sample = spendPolicy('sample', { subject: ENG, limits: [{ period: 'Daily', usd: '1' }] });
  return Array.from({ length: count }, (_, index) => {
    const { subject = ENG, limits = sample.spec.limits } = spec(index);
    const name = `policy-${index}`;
    const metadata = { ...sample.metadata, name, uid: uidOf(name) };
    return { ...sample, metadata, spec: { ...sample.spec, subject, limits } };
  });
}

describe('five times as many spend policies', () => {
  it.each<[string, (index: number) => Partial<SpendPolicySpecInput>]>([
    ['one subject each', (index) => ({ subject: { kind: 'Group', name: `group-${index}` } })],
    ['one subject of all', (index) => ({ limits: [{ period: 'Daily', usd: String(index + 1) }] })],
    ['twenty of each subject', (index) => ({ subject: { kind: 'Group', name: `group-${index % 250}` } })],
  ])('take five times the work: %s', async (_, spec) => {
    const times = await counter.growth(1000, 5000, (count) => {
      const policies = manyPolicies(count, spec);
      return () => void spendConflicts(policies, gateways);
    });
    expect(times).toBeGreaterThan(3);
    expect(times).toBeLessThan(ALMOST_LINEAR);
  });

  it('are compiled once each', async () => {
    const policies = manyPolicies(200, (index) => ({ subject: { kind: 'Group', name: `group-${index}` } }));
    const work = () => counter.count(() => void spendConflicts(policies, gateways));
    const [first, second] = [await work(), await work()];
    expect(second).toBeLessThan(first / 2);
  });
});

type Match = ManagedSettings['spec']['match'];

function manySettings(count: number, match: (index: number) => Match): ManagedSettings[] {
  const sample = managedSettings('sample', {});
  return Array.from({ length: count }, (_, index) => {
    const name = `settings-${String(index).padStart(5, '0')}`;
    const metadata = { ...sample.metadata, name, uid: uidOf(name) };
    return { ...sample, metadata, spec: { ...sample.spec, match: match(index) } };
  });
}

const names = (count: number, prefix: string) => Array.from({ length: count }, (_, i) => `${prefix}${i}.x`);

describe('five times as many settings', () => {
  it.each<[string, (index: number) => Match]>([
    ['a group each', (index) => ({ groups: [`g${index}`] })],
    ['everybody', () => ({})],
    ['one group of all', () => ({ groups: ['g'] })],
    ['one domain of all', () => ({ emailDomains: ['a.example'] })],
    ['one group and domain of all', () => ({ groups: ['g'], emailDomains: ['a.example'] })],
    ['many groups and domains of all', () => ({ groups: names(32, 'g'), emailDomains: names(8, 'd') })],
    [
      'a domain of all, and a group each',
      (index) => ({ emailDomains: ['a.example'], ...(index % 2 === 0 && { groups: [`g${index}`] }) }),
    ],
  ])('take five times the work: %s', async (_, match) => {
    const times = await counter.growth(100, 500, (count) => {
      const settings = manySettings(count, match);
      return () => void settingsConflicts(settings, gateways);
    });
    expect(times).toBeGreaterThan(3);
    expect(times).toBeLessThan(ALMOST_LINEAR);
  });

  it('are looked at once for all groups that the same ones name', async () => {
    const times = await counter.growth(32, 256, (groups) => {
      const settings = manySettings(50, () => ({ groups: names(groups, 'g'), emailDomains: names(8, 'd') }));
      return () => void settingsConflicts(settings, gateways);
    });
    expect(times).toBeLessThan(10);
  });
});
