import { describe, expect, it } from '@jest/globals';
import type { JsonObject } from './json.ts';
import { compilePolicy, type Policy, type PolicyOptions } from './policy.ts';
import type { ModelList, ModelView } from './model-list.ts';
import { displayName } from './model-names.ts';
import { fixture, load, person, type ConfigInFile } from './testing/fixtures.ts';

interface Recording {
  readonly allInferenceModels: readonly JsonObject[];
  readonly cases: readonly {
    readonly title: string;
    readonly config: ConfigInFile & { readonly telemetry?: unknown };
    readonly people: readonly {
      readonly groups: readonly string[];
      readonly email?: string;
      readonly settings: {
        readonly status: number;
        readonly checksum?: string;
        readonly settings?: JsonObject;
      };
      readonly settings_for_desktop_session: number;
      readonly bootstrap: { readonly status: number; readonly body?: JsonObject };
      readonly models: 'all' | readonly string[];
      readonly audit?: { readonly policy_index: number };
    }[];
  }[];
}

const { allInferenceModels, cases } = fixture<Recording>('policies.json');
const { builtin, rows, withRows } = fixture<{
  builtin: ModelList;
  rows: ConfigInFile['models'];
  withRows: ModelList;
}>('model-list.json');

const NOW = new Date('2026-11-23T00:00:00Z');
const OPTIONS: PolicyOptions = { publicUrl: 'http://127.0.0.1:9251' };
const TELEMETRY: PolicyOptions = {
  ...OPTIONS,
  telemetry: true,
  extraEnv: {
    CLAUDE_CODE_ENABLE_TELEMETRY: '1',
    OTEL_METRICS_EXPORTER: 'otlp',
    OTEL_LOGS_EXPORTER: 'otlp',
    OTEL_TRACES_EXPORTER: 'none',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9251',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
  },
};

/** Where we answer otherwise than the reference, on purpose. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  'telemetry without policies':
    'an empty list of policies means the same as none: what the gateway pushes reaches everybody',
};

const recorded = cases.flatMap(({ title, config, people }) =>
  people.map((who) => ({
    title,
    config,
    who,
    name: `${title}: ${JSON.stringify(who.groups)} ${who.email ?? ''}`,
  })),
);

function compiled({ telemetry, ...config }: Recording['cases'][number]['config']): Policy {
  return compilePolicy(load(config), telemetry === undefined ? OPTIONS : TELEMETRY);
}

describe('compared with the reference', () => {
  it.each(recorded.filter(({ title }) => !(title in DEVIATIONS)))('$name', ({ config, who }) => {
    const policy = compiled(config);
    const principal = person(who.groups, who.email);
    const answer = policy.settingsFor(principal);
    if (who.settings.status === 404) {
      expect(answer).toEqual({ state: 'no_policy' });
    } else {
      expect(answer).toMatchObject({
        state: 'served',
        document: { settings: who.settings.settings, checksum: who.settings.checksum },
      });
      if (answer.state === 'served') expect(answer.indexes[0]).toBe(who.audit?.policy_index);
    }

    expect(policy.settingsFor(principal, true).state === 'served').toBe(
      who.settings_for_desktop_session === 200,
    );

    const bootstrap = policy.bootstrapFor(principal, NOW);
    expect(bootstrap.state === 'served' ? 200 : 404).toBe(who.bootstrap.status);
    if (bootstrap.state === 'served') {
      const models = who.bootstrap.body?.['inferenceModels'];
      expect(bootstrap.body).toEqual({
        ...who.bootstrap.body,
        inferenceModels: models === 'all' ? allInferenceModels : models,
        expiresAt: NOW.getTime() / 1000 + 3600,
      });
    }

    const ids = policy.listModels(principal).data.map(({ id }) => id);
    expect(ids).toEqual(who.models === 'all' ? builtin.data.map(({ id }) => id) : who.models);
  });

  it('lists the same models', () => {
    const anybody = person([]);
    // Where the reference knows no label it shows the id.
    const named = (models: readonly ModelView[]): ModelView[] =>
      models.map((model) => ({
        ...model,
        display_name:
          model.display_name === model.id ? (displayName(model.id) ?? model.id) : model.display_name,
      }));
    expect(compilePolicy(load({}), OPTIONS).listModels(anybody)).toEqual({
      ...builtin,
      data: named(builtin.data),
      // The reference leaves the cursors empty.
      first_id: 'claude-opus-4-6',
      last_id: 'claude-haiku-5-5',
    });
    const { data } = compilePolicy(load({ models: rows }), OPTIONS).listModels(anybody);
    // The reference leaves out the context size of a model once the operator names it.
    expect(data.map(({ max_input_tokens: _, ...model }) => model)).toEqual(
      named(withRows.data).map(({ max_input_tokens: _, ...model }) => model),
    );
    expect(data[0]?.max_input_tokens).toBe(1_000_000);
  });
});

describe('what the gateway pushes', () => {
  it('reaches everybody when there are no policies at all', () => {
    const answer = compilePolicy(load({}), TELEMETRY).settingsFor(person([]));
    expect(answer).toMatchObject({ state: 'served', document: { settings: { env: TELEMETRY.extraEnv } } });
    expect(compilePolicy(load({}), OPTIONS).settingsFor(person([]))).toEqual({ state: 'no_policy' });
  });
});

describe('bootstrapFor', () => {
  it('tells a gateway without Claude Desktop from a person without it', () => {
    const cli = { match: { groups: ['a'] }, cli: {} };
    expect(
      compilePolicy(load({ managed: { policies: [cli] } }), OPTIONS).bootstrapFor(person(['a']), NOW),
    ).toEqual({
      state: 'not_configured',
    });
    const desktop = { match: { groups: ['b'] }, desktop: {} };
    const policy = compilePolicy(load({ managed: { policies: [cli, desktop] } }), OPTIONS);
    expect(policy.bootstrapFor(person(['a']), NOW)).toEqual({ state: 'not_opted_in' });
    expect(policy.bootstrapFor(person([]), NOW)).toEqual({ state: 'not_opted_in' });
  });

  it("keeps what the gateway knows about itself from a policy's desktop block", () => {
    const desktop = { inferenceGatewayBaseUrl: 'https://elsewhere.example', expiresAt: 1 };
    const policy = compilePolicy(load({ managed: { policies: [{ desktop }] } }), OPTIONS);
    expect(policy.bootstrapFor(person([]), NOW)).toMatchObject({
      body: { inferenceGatewayBaseUrl: OPTIONS.publicUrl, expiresAt: NOW.getTime() / 1000 + 3600 },
    });
  });
});

describe('layered policies', () => {
  const groups = Array.from({ length: 8 }, (_, index) => `g${index}`);
  const policies = groups.map((group) => ({
    match: { groups: [group] },
    cli: { env: { LAST: group, [group]: '1' }, permissions: { deny: [`Tool${group}`] } },
  }));
  const source = load({ managed: { policy_mode: 'layered', policies } });
  const policy = compilePolicy(source, OPTIONS);

  it('compile every combination to one document, whatever the order of asking and of groups', () => {
    const again = compilePolicy(source, OPTIONS);
    for (let mask = 255; mask > 0; mask--) {
      const mine = groups.filter((_, index) => (mask >> index) & 1);
      const answer = policy.settingsFor(person(mine.toReversed()));
      const same = again.settingsFor(person([...mine, 'other']));
      expect(answer).toMatchObject({
        indexes: mine.map((group) => groups.indexOf(group)),
        document: {
          settings: {
            env: { LAST: mine[0] },
            permissions: { deny: mine.toReversed().map((g) => `Tool${g}`) },
          },
        },
      });
      expect(same).toEqual(answer);
      expect(policy.settingsFor(person(mine))).toMatchObject({
        document: answer.state === 'served' ? answer.document : {},
      });
    }
  });
});

describe('warnings', () => {
  const warningsOf = (...policies: NonNullable<ConfigInFile['managed']>['policies'][number][]) =>
    compilePolicy(load({ managed: { policies } }), OPTIONS).warnings;

  it('say nothing about sound policies', () => {
    expect(
      warningsOf(
        { match: { groups: ['a'] }, cli: { availableModels: ['haiku'] } },
        { match: {}, cli: { availableModels: ['opus', 'haiku'], enforceAvailableModels: true } },
      ),
    ).toEqual([]);
    expect(warningsOf({ match: {}, cli: { availableModels: ['opus'], model: 'claude-opus-4-8' } })).toEqual(
      [],
    );
    expect(warningsOf({ match: {}, cli: { availableModels: ['opus'], model: 'opus' } })).toEqual([]);
  });

  it.each<[RegExp, Parameters<typeof warningsOf>]>([
    [
      /policies\[0\] matches everybody, so the 2 after it/,
      [{ match: {} }, { match: { groups: ['a'] } }, { match: {} }],
    ],
    [
      /policies\[0\].*neither model nor enforceAvailableModels/,
      [{ match: {}, cli: { availableModels: ['opus'] } }],
    ],
    [/policies\[0\].*allows no model/, [{ match: {}, cli: { availableModels: [] } }]],
    [
      /policies\[0\].*allows no model/,
      [{ match: {}, cli: { availableModels: ['opusplan', 'claude-opus-*'] } }],
    ],
    [
      /policies\[0\].*model is "claude-opus-4-8"/,
      [
        { match: { groups: ['a'] }, cli: { availableModels: ['haiku'] } },
        { match: {}, cli: { model: 'claude-opus-4-8' } },
      ],
    ],
  ])('say %s', (sentence, policies) => {
    expect(warningsOf(...policies)).toEqual([expect.stringMatching(sentence)]);
  });
});

it('takes no domain for another one that only Unicode spells alike, and says which groups it names', () => {
  const source = load({
    managed: {
      policies: [
        { match: { email_domain: 'Kelvin.example' }, cli: { model: 'a' } },
        { match: { groups: ['eng'] }, cli: { model: 'b' } },
      ],
    },
  });
  const policy = compilePolicy(source, OPTIONS);
  expect(policy.settingsFor(person([], 'polly@KELVIN.example')).state).toBe('served');
  expect(policy.settingsFor(person([], 'polly@\u212Aelvin.example')).state).toBe('no_policy');
  expect(['eng', 'all'].filter((group) => policy.namesGroup(group))).toEqual(['eng']);
});
