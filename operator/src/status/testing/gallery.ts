import { readFileSync } from 'node:fs';
import {
  parseManifest,
  type ClaudeGateway,
  type ManagedSettings,
  type SpendPolicy,
} from '@claude-gateway/crds';
import { parseAllDocuments } from 'yaml';
import { limitsOf } from '../../policies/limits.ts';
import type {
  DeploymentFacts,
  GatewayFacts,
  ManagedSettingsFacts,
  OnGateway,
  SpendPolicyFacts,
} from '../facts.ts';

/** What stands at `lastTransitionTime`. */
export const NOW = new Date('2026-11-23T12:00:00Z');
const NAMESPACE = 'claude';

type Example = ClaudeGateway | SpendPolicy | ManagedSettings;

/** A resource of the examples, maybe under another name and with another spec. */
function example<T extends Example>(file: string, from: string, name = from, spec: object = {}): T {
  const text = readFileSync(new URL(`../../../../examples/${file}`, import.meta.url), 'utf8');
  for (const document of parseAllDocuments(text)) {
    const manifest = document.toJS() as T;
    if (manifest.metadata.name !== from) continue;
    return parseManifest({
      ...manifest,
      metadata: { name, namespace: NAMESPACE },
      spec: { ...manifest.spec, ...spec },
    }) as unknown as T;
  }
  throw new Error(`${file} has no ${from}`);
}

/** Facts without the resource itself, which the API server has to make first. */
type Without<T, K extends keyof T> = Omit<T, K>;
export interface Exhibit<R, F> {
  readonly resource: R;
  readonly facts: F;
}

const pods = (desired: number, more: Partial<DeploymentFacts> = {}): DeploymentFacts => ({
  desired,
  replicas: desired,
  readyReplicas: desired,
  updatedReplicas: desired,
  availableReplicas: desired,
  generation: 1,
  observedGeneration: 1,
  conditions: [],
  ...more,
});

const replicas = (...revisions: number[]) =>
  revisions.map((revision) => ({ policyRevision: BigInt(revision), version: '0.1.0' }));

const AWAY = 'postgres.claude:5432 does not answer (ECONNREFUSED)';

function gateway(
  name: string,
  spec: object,
  more: Partial<Without<GatewayFacts, 'gateway'>>,
): Exhibit<ClaudeGateway, Without<GatewayFacts, 'gateway'>> {
  return {
    resource: example<ClaudeGateway>('gateway.yaml', 'main', name, spec),
    facts: {
      problems: [],
      missing: [],
      deployment: pods(2),
      foreign: undefined,
      refused: [],
      pods: [],
      database: { problem: undefined, revision: 42n, replicas: replicas(42, 41) },
      spendPolicies: 4,
      managedSettings: 3,
      signingKeys: {
        secretName: `${name}-signing-keys`,
        rotatedAt: new Date('2026-11-20T08:00:00Z'),
        rotatesAt: new Date('2026-12-20T08:00:00Z'),
      },
      selector: `app.kubernetes.io/name=claude-gateway,app.kubernetes.io/instance=${name}`,
      ...more,
    },
  };
}

const nowhere = {
  deployment: undefined,
  database: { problem: undefined, revision: undefined, replicas: [] },
};

export const GATEWAYS = [
  gateway('main', {}, {}),
  gateway('blind', { listen: {} }, {}),
  gateway(
    'missing',
    {},
    {
      ...nowhere,
      missing: [
        { kind: 'Secret', name: 'claude-database', key: 'url', fields: ['spec.database.urlSecretRef'] },
      ],
    },
  ),
  gateway(
    'invalid',
    {},
    {
      problems: [
        {
          field: 'spec.upstreams[1].anthropic.baseURL',
          message: 'names a metadata service: use another host',
        },
      ],
    },
  ),
  gateway(
    'refused',
    {},
    {
      refused: [
        {
          kind: 'Deployment',
          name: 'refused',
          cause: 'content',
          detail:
            'Deployment.apps "refused" is invalid: spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes"',
        },
      ],
    },
  ),
  gateway(
    'taken',
    {},
    {
      ...nowhere,
      foreign:
        'Service "taken" in namespace claude exists already and nobody controls it, so it is left alone: delete or rename it, or give ClaudeGateway "taken" another name',
    },
  ),
  gateway(
    'rolling',
    { replicas: 3 },
    {
      deployment: pods(3, { replicas: 4, updatedReplicas: 2 }),
      database: {
        problem: undefined,
        revision: 42n,
        replicas: [...replicas(42), { policyRevision: 42n, version: '0.2.0' }],
      },
    },
  ),
  gateway(
    'crashing',
    {},
    {
      deployment: pods(2, { readyReplicas: 1 }),
      pods: [
        { name: 'crashing-1', ready: true, problem: undefined },
        { name: 'crashing-2', ready: false, problem: 'the gateway runs out of memory' },
      ],
    },
  ),
  gateway(
    'stuck',
    {},
    {
      deployment: pods(2, { replicas: 3, updatedReplicas: 1 }),
      pods: [
        { name: 'stuck-1', ready: true, problem: undefined },
        { name: 'stuck-2', ready: true, problem: undefined },
        {
          name: 'stuck-3',
          ready: false,
          problem:
            'the gateway exits with code 1: oidc[0].issuer: cannot discover https://corp.okta.example: 404',
        },
      ],
    },
  ),
  gateway(
    'quota',
    { replicas: 5 },
    {
      deployment: pods(5, {
        replicas: 2,
        readyReplicas: 2,
        updatedReplicas: 2,
        conditions: [
          {
            type: 'ReplicaFailure',
            status: 'True',
            reason: 'FailedCreate',
            message:
              'pods "quota-7bf8c77b5b-z5xmr" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=2, limited: pods=2',
          },
        ],
      }),
    },
  ),
  gateway(
    'paused',
    { replicas: 0 },
    {
      deployment: pods(0),
      database: { problem: undefined, revision: 42n, replicas: [] },
    },
  ),
  gateway('cut-off', {}, { database: { problem: AWAY, revision: undefined, replicas: [] } }),
];

const on = (name: string, revision: number | undefined, ...revisions: number[]): OnGateway => ({
  name,
  revision: revision === undefined ? undefined : BigInt(revision),
  replicas: replicas(...revisions),
  silent: [],
  notAccepted: false,
  problem: undefined,
});

const MAIN = on('main', 41, 42, 41);
const TIMES = {
  daily: new Date('2026-11-23T23:00:00Z'),
  weekly: new Date('2026-11-30T00:00:00Z'),
  monthly: new Date('2026-11-30T23:00:00Z'),
};

/** @param spent of each limit of the policy on each of its gateways, in its unit. */
function policy(
  from: string,
  name: string,
  spec: object,
  spent: readonly bigint[],
  more: Partial<Without<SpendPolicyFacts, 'policy'>> = {},
): Exhibit<SpendPolicy, Without<SpendPolicyFacts, 'policy'>> {
  const resource = example<SpendPolicy>('spend-policies.yaml', from, name, spec);
  const compiled = limitsOf(resource);
  const limits = 'limits' in compiled ? compiled.limits : [];
  const gateways = more.gateways ?? [MAIN];
  return {
    resource,
    facts: {
      problems: [],
      missingGateways: [],
      gateways,
      conflicts: [],
      seen: true,
      limits: more.problems === undefined ? limits : [],
      spending: gateways.flatMap(({ name: on }) =>
        spent.flatMap((amount, index) => {
          const content = limits[index];
          if (content === undefined) return [];
          const members = content.sharing === 'per_member' ? 17 : 0;
          const blockedMembers = content.amount !== null && amount >= content.amount ? 2 : 0;
          const [held, resetsAt] = [250_000_000n, TIMES[content.period]];
          return [{ gateway: on, content, spent: amount, held, resetsAt, members, blockedMembers }];
        }),
      ),
      ...more,
    },
  };
}

const OTHER =
  'both limit everybody daily in dollars, each member; the lower limit counts: 20.00 of contractors';

export const POLICIES = [
  policy('everybody', 'everybody', {}, [12_345_678_901n, 13_580_246_800_000n], {
    conflicts: [{ name: 'contractors', message: OTHER }],
  }),
  policy('contractors', 'contractors', {}, [20_000_000_000n, 214_000_000_000n], {
    gateways: [on('main', 42, 42, 41), on('rolling', 7, 7, 7, 7)],
  }),
  policy('ci', 'ci', {}, [41_250_000n]),
  policy('research-lead', 'research-lead', {}, [93_100_000_000n], { gateways: [on('paused', 41)] }),
  policy('ci', 'cut-off', {}, [41_250_000n], { gateways: [{ ...on('main', 41, 41), silent: ['main-2'] }] }),
  policy('ci', 'fresh', {}, [], { gateways: [on('main', undefined, 41, 41)] }),
  policy('contractors', 'misspelt', { subject: { kind: 'Group', name: 'eng-contracters' } }, [], {
    seen: false,
  }),
  policy('ci', 'lost', { gatewayRefs: [{ name: 'mian' }] }, [], { gateways: [], missingGateways: ['mian'] }),
  policy('ci', 'half-lost', { gatewayRefs: [{ name: 'main' }, { name: 'mian' }] }, [1_000n], {
    missingGateways: ['mian'],
  }),
  policy('ci', 'broken', {}, [41_250_000n], {
    problems: [
      { field: 'spec.timeZone', message: 'is not a time zone: use an IANA name such as Europe/Berlin' },
    ],
  }),
  policy('ci', 'unknown', {}, [41_250_000n], { gateways: [{ ...on('cut-off', 41, 41), problem: AWAY }] }),
];

const settings = (
  name: string,
  more: Partial<Without<ManagedSettingsFacts, 'settings'>> = {},
): Exhibit<ManagedSettings, Without<ManagedSettingsFacts, 'settings'>> => ({
  resource: example<ManagedSettings>('managed-settings.yaml', name),
  facts: {
    problems: [],
    warnings: [],
    missingGateways: [],
    gateways: [MAIN],
    conflicts: [],
    clients: { current: 41, stale: 2 },
    checksum: `sha256:${'0'.repeat(64)}`,
    ...more,
  },
});

export const SETTINGS = [
  settings('everybody'),
  settings('contractors', {
    warnings: ['spec.settings.permissions.denny is no setting of Claude Code: did you mean deny?'],
    clients: { current: 0, stale: 7 },
    gateways: [on('main', 42, 42, 41)],
  }),
  settings('ci', {
    problems: [{ field: 'spec.settings.disableAutoMode', message: 'write disable, or leave it out' }],
  }),
];
