import { describe, expect, it } from '@jest/globals';
import {
  CLAUDE_GATEWAY,
  MANAGED_SETTINGS,
  SPEND_POLICY,
  type ClaudeGateway,
  type Condition,
  type ManagedSettings,
  type SpendPolicy,
} from '@claude-gateway/crds';
import type { LimitContent } from '@claude-gateway/prisma';
import type { DeploymentFacts, GatewayFacts, ManagedSettingsFacts, SpendPolicyFacts } from './facts.ts';
import { gatewayStatus } from './gateway-status.ts';
import { managedSettingsStatus } from './managed-settings-status.ts';
import { spendPolicyStatus } from './spend-policy-status.ts';
import { transitions } from './transitions.ts';

const NOW = new Date('2026-11-23T12:00:00Z');
const metadata = { name: 'one', namespace: 'claude', uid: 'u1', generation: 3 };

const policy = (subject: object = { kind: 'Organization' }): SpendPolicy =>
  ({ kind: 'SpendPolicy', metadata, spec: { subject, limits: [] } }) as unknown as SpendPolicy;

const limit = (more: Partial<LimitContent> = {}): LimitContent => ({
  scope: { type: 'organization' },
  period: 'daily',
  unit: 'nano_usd',
  sharing: 'per_member',
  amount: 100_000_000_000n,
  mode: 'strict',
  whenShort: 'shrink_output',
  failurePolicy: null,
  timeZone: 'UTC',
  warnAtPercent: [],
  blockedMessage: null,
  ...more,
});

const main = (revision: bigint | undefined, ...revisions: bigint[]) => ({
  name: 'main',
  revision,
  replicas: revisions.map((policyRevision) => ({ policyRevision })),
  silent: [] as readonly string[],
  notAccepted: false,
  problem: undefined as string | undefined,
});

const spend = (more: Partial<SpendPolicyFacts> = {}): SpendPolicyFacts => ({
  policy: policy(),
  problems: [],
  missingGateways: [],
  gateways: [main(41n, 41n, 42n)],
  conflicts: [],
  limits: (more.spending ?? [{ content: limit() }]).map(({ content }) => content),
  spending: [],
  seen: true,
  ...more,
});

const spent = (content: LimitContent, amount: bigint, more = {}) => ({
  content,
  gateway: 'main',
  spent: amount,
  held: 0n,
  resetsAt: new Date('2026-11-24T00:00:00Z'),
  members: 2,
  blockedMembers: 0,
  ...more,
});

interface Said {
  readonly conditions?: readonly Condition[] | undefined;
}

function said(status: Said, type: string): [string, string, string] {
  const {
    status: is = '',
    reason = '',
    message = '',
  } = status.conditions?.find((one) => one.type === type) ?? {};
  return [is, reason, message];
}

describe('the status of a spend policy', () => {
  it('says that every replica runs it, with what was spent', () => {
    const pool = limit({
      period: 'monthly',
      sharing: 'pooled',
      amount: 5_000_000_000_000n,
      timeZone: 'Europe/Berlin',
    });
    const spending = [
      spent(limit(), 10_000_000_000n),
      spent(pool, 2_714_000_000_000n, { held: 1_200_000_000n, resetsAt: new Date('2026-11-30T23:00:00Z') }),
    ];
    const status = spendPolicyStatus(spend({ spending }), [], NOW);
    expect(SPEND_POLICY.status.parse(status)).toEqual(status);
    expect(status).toMatchInlineSnapshot(`
     {
       "conditions": [
         {
           "lastTransitionTime": "2026-11-23T12:00:00Z",
           "message": "It is for main.",
           "observedGeneration": 3,
           "reason": "Accepted",
           "status": "True",
           "type": "Accepted",
         },
         {
           "lastTransitionTime": "2026-11-23T12:00:00Z",
           "message": "2 of 2 replicas run revision 41.",
           "observedGeneration": 3,
           "reason": "AllReplicas",
           "status": "True",
           "type": "Enforced",
         },
         {
           "lastTransitionTime": "2026-11-23T12:00:00Z",
           "message": "2 of 2 replicas run revision 41.",
           "observedGeneration": 3,
           "reason": "AllReplicas",
           "status": "True",
           "type": "Ready",
         },
       ],
       "gateways": [
         {
           "enforcedReplicas": 2,
           "name": "main",
           "replicas": 2,
           "revision": 41,
         },
       ],
       "limits": [
         {
           "held": "1.20",
           "limit": "5000.00",
           "period": "Monthly",
           "resetsAt": "2026-12-01T00:00:00+01:00",
           "sharing": "Pooled",
           "spent": "2714.00",
           "unit": "USD",
           "utilizationPercent": 54,
         },
         {
           "blockedMembers": 0,
           "held": "0.00",
           "limit": "100.00",
           "members": 2,
           "period": "Daily",
           "resetsAt": "2026-11-24T00:00:00Z",
           "sharing": "PerMember",
           "spent": "10.00",
           "unit": "USD",
           "utilizationPercent": 10,
         },
       ],
       "nearest": {
         "limit": "5000.00 USD monthly",
         "resetsAt": "2026-12-01T00:00:00+01:00",
         "spent": "2714.00 USD",
         "utilizationPercent": 54,
       },
       "observedGeneration": 3,
     }
    `);
  });

  it.each<[string, Partial<SpendPolicyFacts>, string, string, RegExp]>([
    [
      'a replica that is behind',
      { gateways: [main(41n, 41n, 40n)] },
      'False',
      'Progressing',
      /^1 of 2 replicas run revision 41\.$/,
    ],
    [
      'rows that are not written',
      { gateways: [main(undefined, 41n)] },
      'False',
      'Progressing',
      /^0 of 1 replica runs this version\.$/,
    ],
    ['no replica', { gateways: [main(41n)] }, 'False', 'NoReplicas', /No replica of main is up/],
    [
      'a database that is away',
      { gateways: [{ ...main(41n, 41n), problem: 'db:5432 does not answer' }] },
      'Unknown',
      'DatabaseUnavailable',
      /main: db:5432 does not answer/,
    ],
    [
      'a gateway that is not accepted itself',
      { gateways: [{ ...main(undefined), notAccepted: true }] },
      'False',
      'GatewayNotAccepted',
      /^Nothing is in force on main: the gateway itself is not accepted/,
    ],
    [
      'a version with problems beside a good one',
      { problems: [{ field: 'spec.limits', message: 'wrong' }] },
      'False',
      'NotAccepted',
      /last version that made sense stays in force/,
    ],
    ['no gateway', { gateways: [] }, 'False', 'NotAccepted', /no gateway that it is for/],
  ])('of %s', (_, facts, is, reason, message) => {
    expect(said(spendPolicyStatus(spend(facts), [], NOW), 'Enforced')).toEqual([
      is,
      reason,
      expect.stringMatching(message),
    ]);
  });

  it.each<[string, Partial<SpendPolicyFacts>, string, string, RegExp]>([
    ['all well', {}, 'True', 'Accepted', /^It is for main\.$/],
    [
      'problems',
      { problems: [{ field: 'spec.subject.name', message: 'is odd' }] },
      'False',
      'Invalid',
      /^spec\.subject\.name: is odd$/,
    ],
    [
      'no such gateway',
      { gateways: [], missingGateways: ['mian'] },
      'False',
      'GatewayNotFound',
      /no ClaudeGateway mian in namespace claude/,
    ],
    [
      'no gateway at all',
      { gateways: [] },
      'False',
      'GatewayNotFound',
      /no ClaudeGateway in namespace claude: create one/,
    ],
    [
      'some',
      { missingGateways: ['b', 'a'] },
      'True',
      'SomeGatewaysNotFound',
      /for main; there is no ClaudeGateway b and a/,
    ],
    [
      'a group nobody is in',
      { seen: false, policy: policy({ kind: 'Group', name: 'egn' }) },
      'True',
      'SubjectNotSeen',
      /nobody of group egn has been seen: check the spelling/,
    ],
    [
      'a user nobody knows',
      { seen: false, policy: policy({ kind: 'User', name: 'ada' }) },
      'True',
      'SubjectNotSeen',
      /user ada has not been seen/,
    ],
    ['a group of whom nothing is known', { seen: undefined }, 'True', 'Accepted', /^It is for main\.$/],
  ])('accepts or not: %s', (_, facts, is, reason, message) => {
    expect(said(spendPolicyStatus(spend(facts), [], NOW), 'Accepted')).toEqual([
      is,
      reason,
      expect.stringMatching(message),
    ]);
  });

  it('moves the time of a condition only with its status', () => {
    const first = spendPolicyStatus(spend({ gateways: [main(41n, 40n)] }), [], NOW);
    const later = new Date(NOW.getTime() + 60_000);
    const second = spendPolicyStatus(
      spend({ gateways: [main(41n, 40n, 40n)] }),
      first.conditions ?? [],
      later,
    );
    expect(second.conditions?.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual(
      first.conditions?.map(({ lastTransitionTime }) => lastTransitionTime),
    );
    const third = spendPolicyStatus(spend({ gateways: [main(41n, 41n)] }), second.conditions ?? [], later);
    expect(third.conditions?.find(({ type }) => type === 'Enforced')?.lastTransitionTime).toBe(
      '2026-11-23T12:01:00Z',
    );
  });

  it('lists the limits nearest their end first, and no more than the schema has room for', () => {
    const spending = Array.from({ length: 1500 }, (_, i) =>
      spent(limit(), BigInt(i) * 10_000_000n, { gateway: `g${i}` }),
    );
    const gateways = spending.map(({ gateway: name }) => ({ ...main(41n, 41n), name }));
    const status = spendPolicyStatus(spend({ spending, gateways, limits: [limit()] }), [], NOW);
    expect(status.limits).toHaveLength(1152);
    expect(status.gateways).toHaveLength(1000);
    expect(status.limits?.[0]?.spent).toBe('14.99');
    expect(SPEND_POLICY.status.safeParse(status).success).toBe(true);
  });

  it('does not take an unlimited one for the nearest', () => {
    const spending = [spent(limit({ amount: null }), 1n), spent(limit({ period: 'weekly' }), 0n)];
    expect(spendPolicyStatus(spend({ spending }), [], NOW).nearest?.limit).toBe('100.00 USD weekly');
    const alone = spendPolicyStatus(spend({ spending: spending.slice(0, 1) }), [], NOW);
    expect(alone.nearest).toEqual({
      limit: 'unlimited USD daily',
      spent: '0.00 USD',
      resetsAt: '2026-11-24T00:00:00Z',
    });
  });
});

describe('the limits of a spend policy', () => {
  const shown = (more: Partial<SpendPolicyFacts>) => spendPolicyStatus(spend(more), [], NOW);
  const twice = limit({ amount: 200_000_000_000n });
  const spending = [spent(limit(), 50_000_000_000n)];

  it('are there before anything is known of what was spent', () => {
    const status = shown({ limits: [limit()] });
    expect(status.nearest).toEqual({ limit: '100.00 USD daily' });
    expect(status.limits).toEqual([{ limit: '100.00', period: 'Daily', sharing: 'PerMember', unit: 'USD' }]);
  });

  it('show a new amount as soon as it is in force, with what was spent of the old one', () => {
    expect(shown({ limits: [twice], spending }).nearest).toMatchObject({
      limit: '200.00 USD daily',
      spent: '50.00 USD',
      utilizationPercent: 25,
    });
  });

  it('show the old amount as long as the new one is not written, or has problems', () => {
    const old = { limit: '100.00 USD daily', utilizationPercent: 50 };
    expect(shown({ limits: [twice], spending, gateways: [main(undefined, 41n)] }).nearest).toMatchObject(old);
    const problems = [{ field: 'spec.limits', message: 'wrong' }];
    expect(shown({ limits: [], spending, problems }).nearest).toMatchObject(old);
  });

  it('do not count what was spent by the days of another time zone', () => {
    const limits = [limit({ timeZone: 'Europe/Berlin' })];
    expect(shown({ limits, spending }).nearest).toEqual({ limit: '100.00 USD daily' });
  });
});

describe('the status of managed settings', () => {
  const facts = (more: Partial<ManagedSettingsFacts> = {}): ManagedSettingsFacts => ({
    settings: {
      kind: 'ManagedSettings',
      metadata,
      spec: { match: {}, priority: 0 },
    } as unknown as ManagedSettings,
    problems: [],
    warnings: [],
    missingGateways: [],
    gateways: [main(41n, 41n)],
    conflicts: [{ name: 'other', message: 'both match everybody' }],
    clients: { current: 41, stale: 2 },
    checksum: `sha256:${'0'.repeat(64)}`,
    ...more,
  });

  it('says who runs them', () => {
    const status = managedSettingsStatus(facts(), [], NOW);
    expect(MANAGED_SETTINGS.status.parse(status)).toEqual(status);
    expect(status).toMatchObject({ clients: { current: 41, stale: 2 }, conflicts: [{ name: 'other' }] });
    expect(said(status, 'Delivered')).toEqual(['True', 'AllReplicas', '1 of 1 replica runs revision 41.']);
  });

  it('says what somebody should look at', () => {
    const status = managedSettingsStatus(facts({ warnings: ['spec.settings.x is unknown'] }), [], NOW);
    expect(said(status, 'Accepted')).toEqual([
      'True',
      'AcceptedWithWarnings',
      expect.stringContaining('spec.settings.x is unknown'),
    ]);
  });
});

describe('the status of a gateway', () => {
  const deployment = (more: Partial<DeploymentFacts> = {}): DeploymentFacts => ({
    desired: 3,
    replicas: 3,
    readyReplicas: 3,
    updatedReplicas: 3,
    availableReplicas: 3,
    generation: 7,
    observedGeneration: 7,
    conditions: [],
    ...more,
  });
  const facts = (more: Partial<GatewayFacts> = {}): GatewayFacts => ({
    gateway: {
      kind: 'ClaudeGateway',
      metadata,
      spec: { publicURL: 'https://claude.corp.example' },
    } as unknown as ClaudeGateway,
    problems: [],
    missing: [],
    foreign: undefined,
    refused: [],
    pods: [],
    deployment: deployment(),
    database: {
      problem: undefined,
      revision: 41n,
      replicas: [
        { policyRevision: 41n, version: '0.1.0' },
        { policyRevision: 40n, version: '0.1.0' },
      ],
    },
    spendPolicies: 2,
    managedSettings: 1,
    signingKeys: {
      secretName: 'one-signing-keys',
      rotatedAt: NOW,
      rotatesAt: new Date('2026-12-23T12:00:00.5Z'),
    },
    selector: 'app.kubernetes.io/instance=one',
    ...more,
  });
  const broken = { name: 'one-x', ready: false, problem: 'its image cannot be pulled' };
  const away = { problem: 'db:5432 does not answer', revision: undefined, replicas: [] };

  it('says how many pods are ready, what they run, and where', () => {
    const status = gatewayStatus(facts(), [], NOW);
    expect(CLAUDE_GATEWAY.status.parse(status)).toEqual(status);
    expect(status).toMatchInlineSnapshot(`
     {
       "conditions": [
         {
           "lastTransitionTime": "2026-11-23T12:00:00Z",
           "message": "The configuration makes sense.",
           "observedGeneration": 3,
           "reason": "Accepted",
           "status": "True",
           "type": "Accepted",
         },
         {
           "lastTransitionTime": "2026-11-23T12:00:00Z",
           "message": "3 of 3 pods are ready.",
           "observedGeneration": 3,
           "reason": "Ready",
           "status": "True",
           "type": "Ready",
         },
       ],
       "enforcedRevision": 40,
       "managedSettings": 1,
       "observedGeneration": 3,
       "policyRevision": 41,
       "readyReplicas": 3,
       "replicas": 3,
       "selector": "app.kubernetes.io/instance=one",
       "signingKeys": {
         "rotatedAt": "2026-11-23T12:00:00Z",
         "rotatesAt": "2026-12-23T12:00:00Z",
         "secretName": "one-signing-keys",
       },
       "spendPolicies": 2,
       "updatedReplicas": 3,
       "url": "https://claude.corp.example",
       "version": "0.1.0",
     }
    `);
  });

  it.each<[string, Partial<GatewayFacts>, string, string, RegExp]>([
    ['all ready', {}, 'True', 'Ready', /^3 of 3 pods are ready\.$/],
    ['no Deployment yet', { deployment: undefined }, 'False', 'RolloutInProgress', /about to be made/],
    [
      'no Deployment, no database',
      { deployment: undefined, database: away },
      'False',
      'DatabaseUnavailable',
      /db:5432 does not answer/,
    ],
    [
      'no Deployment, not accepted',
      { deployment: undefined, problems: [{ field: 'spec', message: 'x' }] },
      'False',
      'NotAccepted',
      /not accepted/,
    ],
    [
      'a database that went away',
      { database: away },
      'True',
      'DatabaseUnreachable',
      /cannot reach their database/,
    ],
    [
      'a spec that is not accepted',
      { problems: [{ field: 'spec', message: 'x' }] },
      'True',
      'LastAccepted',
      /last spec that was accepted/,
    ],
    [
      'nobody wanted',
      { deployment: deployment({ desired: 0, replicas: 0, readyReplicas: 0, updatedReplicas: 0 }) },
      'False',
      'Paused',
      /spec\.replicas is 0/,
    ],
    [
      'a Deployment controller that is behind',
      { deployment: deployment({ observedGeneration: 6 }) },
      'False',
      'RolloutInProgress',
      /3 of 3/,
    ],
    [
      'pods that do not come up',
      { deployment: deployment({ readyReplicas: 1 }), pods: [broken] },
      'False',
      'NotEnoughReplicas',
      /1 of 3 pods are ready: its image cannot be pulled.*kubectl describe pods/,
    ],
    [
      'pods that are starting',
      { deployment: deployment({ readyReplicas: 1 }) },
      'False',
      'RolloutInProgress',
      /1 of 3 pods are ready/,
    ],
    [
      'new pods that do not start',
      { deployment: deployment({ replicas: 4, updatedReplicas: 1 }), pods: [broken] },
      'True',
      'RolloutStuck',
      /3 of 3 pods are ready and serve on, but .*its image cannot be pulled/,
    ],
    [
      'a quota',
      {
        deployment: deployment({
          readyReplicas: 1,
          conditions: [
            { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'exceeded quota' },
          ],
        }),
      },
      'False',
      'FailedCreate',
      /1 of 3 pods are ready\. exceeded quota/,
    ],
    [
      'a rollout that stands still',
      {
        deployment: deployment({
          updatedReplicas: 1,
          replicas: 4,
          conditions: [
            {
              type: 'Progressing',
              status: 'False',
              reason: 'ProgressDeadlineExceeded',
              message: 'timed out',
            },
          ],
        }),
      },
      'True',
      'RolloutStuck',
      /timed out/,
    ],
  ])('is ready or not: %s', (_, more, is, reason, message) => {
    expect(said(gatewayStatus(facts(more), [], NOW), 'Ready')).toEqual([
      is,
      reason,
      expect.stringMatching(message),
    ]);
  });

  it('is ready with the least that an autoscaler may have, while more are on their way', () => {
    const growing = deployment({ desired: 10, replicas: 10, updatedReplicas: 10 });
    const { gateway } = facts();
    const scaled = {
      ...gateway,
      spec: { ...gateway.spec, autoscaling: { minReplicas: 3, maxReplicas: 10 } },
    } as unknown as ClaudeGateway;
    expect(said(gatewayStatus(facts({ gateway: scaled, deployment: growing }), [], NOW), 'Ready')).toEqual([
      'True',
      'Ready',
      '3 of 10 pods are ready.',
    ]);
    const few = { ...growing, readyReplicas: 2 };
    const ready = gatewayStatus(facts(), [], NOW).conditions ?? [];
    expect(said(gatewayStatus(facts({ gateway: scaled, deployment: few }), ready, NOW), 'Ready')).toEqual([
      'True',
      'PodsStarting',
      '2 of 10 pods are ready; the others are starting.',
    ]);
  });

  it('says the same of a quota however often it is run into', () => {
    const refused = (pod: string) =>
      said(
        gatewayStatus(
          facts({
            deployment: deployment({
              readyReplicas: 1,
              conditions: [
                {
                  type: 'ReplicaFailure',
                  status: 'True',
                  reason: 'FailedCreate',
                  message: `pods "one-7bf8c77b5b-${pod}" is forbidden: exceeded quota: pods`,
                },
              ],
            }),
          }),
          [],
          NOW,
        ),
        'Ready',
      );
    expect(refused('z5xmr')).toEqual(refused('8kq2d'));
    expect(refused('z5xmr')[2]).toBe(
      '1 of 3 pods are ready. pods "one-7bf8c77b5b-…" is forbidden: exceeded quota: pods',
    );
  });

  it('stays ready while pods are replaced one after the other', () => {
    const before = gatewayStatus(facts(), [], NOW).conditions ?? [];
    const rolling = gatewayStatus(
      facts({ deployment: deployment({ replicas: 4, updatedReplicas: 1 }) }),
      before,
      NOW,
    );
    expect(said(rolling, 'Ready')).toEqual([
      'True',
      'PodsStarting',
      '3 of 3 pods are ready; 1 of them run the present version.',
    ]);
  });

  it('names the Secret that is missing, its key, and who wants it', () => {
    const fields = ['spec.upstreams[0].anthropic.apiKeySecretRef'];
    const missing = [{ kind: 'Secret' as const, name: 'anthropic', key: 'key', fields }];
    expect(said(gatewayStatus(facts({ missing }), [], NOW), 'Accepted')).toEqual([
      'False',
      'ReferenceNotFound',
      'Secret anthropic has no key key, or does not exist (spec.upstreams[0].anthropic.apiKeySecretRef). Create it in the namespace of this gateway: it is taken up at once.',
    ]);
  });
});

describe('transitions', () => {
  const one = (type: string, status: 'True' | 'False', reason: string): Condition => ({
    type,
    status,
    reason,
    message: `${reason}!`,
    lastTransitionTime: '2026-11-23T12:00:00Z',
  });

  it('tells of failures and of their end, and of nothing else', () => {
    const accepted = one('Accepted', 'True', 'Accepted');
    const invalid = one('Accepted', 'False', 'Invalid');
    expect(transitions('SpendPolicy', [], [accepted, one('Enforced', 'False', 'Progressing')])).toEqual([]);
    expect(transitions('SpendPolicy', [accepted], [invalid])).toEqual([
      { type: 'Warning', reason: 'Invalid', action: 'Accepted', note: 'Invalid!' },
    ]);
    expect(transitions('SpendPolicy', [invalid], [{ ...invalid, message: 'still' }])).toEqual([]);
    expect(transitions('SpendPolicy', [invalid], [accepted])).toEqual([
      { type: 'Normal', reason: 'Accepted', action: 'Accepted', note: 'Accepted!' },
    ]);
  });
});
