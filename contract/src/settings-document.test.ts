import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import {
  validateDesktopDocument,
  validateSettingsDocument,
  type DocumentRemark,
} from './settings-document.ts';
import { SETTINGS_KEYS } from './settings-keys.ts';

interface Recording {
  readonly cases: readonly {
    readonly document: Readonly<Record<string, unknown>>;
    readonly refused: readonly string[];
    readonly unknown: readonly string[];
  }[];
}

const { cases } = JSON.parse(
  readFileSync(new URL('./fixtures/settings-verdicts.json', import.meta.url), 'utf8'),
) as Recording;

const topLevel = (paths: readonly string[]): Set<string> =>
  new Set(paths.map((path) => path.split(/[.[]/)[0] ?? ''));
const pathsOf = (remarks: readonly DocumentRemark[]): string[] => remarks.map(({ path }) => path);

/** Documented as strings, and an object is no environment variable, though the reference sends it on. */
const STRICTER = ['env'];

/** Ranges of numbers, required keys and open unions, which are left to the clients. */
const MORE_LENIENT = [
  'enabledPlugins',
  'feedbackSurveyRate',
  'fileSuggestion',
  'modelPicker',
  'pluginConfigs',
  'skillListingBudgetFraction',
  'spinnerVerbs',
  'statusLine',
];

describe('compared with the reference', () => {
  const wholeDocuments = cases.slice(0, 5);
  const [nested, rules, good] = cases.slice(5) as [
    Recording['cases'][0],
    Recording['cases'][0],
    Recording['cases'][0],
  ];

  it.each(wholeDocuments)(
    'refuses no value of a key that it accepts (%#)',
    ({ document, refused, unknown }) => {
      const theirs = topLevel(refused);
      const stricter = [...topLevel(pathsOf(validateSettingsDocument(document).problems))].filter(
        (key) => !theirs.has(key) && !unknown.includes(key) && !STRICTER.includes(key),
      );
      expect(stricter).toEqual([]);
    },
  );

  it('knows every shape of scalars, lists and objects that the reference insists on', () => {
    const missed = wholeDocuments.flatMap(({ document, refused }) => {
      const ours = topLevel(pathsOf(validateSettingsDocument(document).problems));
      return [...topLevel(refused)].filter((key) => SETTINGS_KEYS[key] !== 'any' && !ours.has(key));
    });
    expect([...new Set(missed)].sort()).toEqual(MORE_LENIENT);
  });

  it.each([nested, rules])('finds the same mistakes deeper down (%#)', ({ document, refused }) => {
    const { problems } = validateSettingsDocument(document);
    const ours = pathsOf(problems).map((path) => path.replace(/\[(\d+)\]/g, '.$1'));
    expect(ours.sort()).toEqual([...refused].sort());
  });

  it('accepts a sound document', () => {
    expect(good.refused).toEqual([]);
    const { problems, warnings } = validateSettingsDocument(good.document);
    expect(problems).toEqual([]);
    expect(pathsOf(warnings)).toEqual(['env.B', 'env.C']);
  });
});

describe('validateSettingsDocument', () => {
  it.each<[unknown, string, RegExp]>([
    [{ mcpServers: {} }, 'mcpServers', /managedMcpServers/],
    [{ permissions: { deny: 'WebFetch' } }, 'permissions.deny', /list of strings, not a string/],
    [{ permissions: { deny: ['WebFetch', 5] } }, 'permissions.deny[1]', /a string, not a number/],
    [{ permissions: { deny: ['webFetch'] } }, 'permissions.deny[0]', /as in WebFetch/],
    [{ permissions: ['WebFetch'] }, 'permissions', /an object, not a list/],
    [{ env: { A: null } }, 'env.A', /a string, not empty/],
    [{ env: ['A=1'] }, 'env', /object of names/],
    [{ availableModels: 'opus' }, 'availableModels', /list of strings/],
    [{ allowManagedHooksOnly: 'yes' }, 'allowManagedHooksOnly', /true or false, not a string/],
    [{ hooks: { Stop: { hooks: [] } } }, 'hooks.Stop', /list of \{matcher, hooks\}/],
    [
      { hooks: { Stop: [{ hooks: [{ type: 'shell' }] }] } },
      'hooks.Stop[0].hooks[0].type',
      /command, prompt, .* not "shell"/,
    ],
    [{ sandbox: { network: { allowedDomains: 'a' } } }, 'sandbox.network.allowedDomains', /list of strings/],
    [null, '', /must be an object/],
    [[], '', /not a list/],
  ])('refuses %j', (document, path, message) => {
    expect(validateSettingsDocument(document).problems).toEqual([
      { path, message: expect.stringMatching(message) },
    ]);
  });

  it.each<[unknown, string, RegExp]>([
    [{ avialableModels: ['opus'] }, 'avialableModels', /did you mean availableModels\?/],
    [{ AvailableModels: ['opus'] }, 'AvailableModels', /did you mean availableModels\?/],
    [{ permissions: { denny: ['Bash'] } }, 'permissions.denny', /did you mean deny\?/],
    [{ hooks: { PreTooluse: [] } }, 'hooks.PreTooluse', /did you mean PreToolUse\?/],
    [{ settingOfTheFuture: 1 }, 'settingOfTheFuture', /^is not a setting that this gateway knows$/],
    [{ availableModels: [] }, 'availableModels', /every request .* is refused/],
    [{ availableModels: ['opusplan'] }, 'availableModels[0]', /alias of the client/],
    [{ availableModels: ['claude-opus-*'] }, 'availableModels[0]', /no wildcards/],
    [{ env: { DISABLE_UPDATES: 1 } }, 'env.DISABLE_UPDATES', /write "1" in quotes/],
  ])('accepts with a warning %j', (document, path, message) => {
    expect(validateSettingsDocument(document)).toEqual({
      problems: [],
      warnings: [{ path, message: expect.stringMatching(message) }],
    });
  });

  it('reports every mistake at once', () => {
    const { problems } = validateSettingsDocument({
      mcpServers: {},
      model: 1,
      permissions: { deny: 1, allow: [2] },
    });
    expect(pathsOf(problems)).toEqual(['mcpServers', 'model', 'permissions.deny', 'permissions.allow[0]']);
  });

  it('is not confused by names that JavaScript knows', () => {
    const document: unknown = JSON.parse(
      '{"__proto__": 1, "constructor": 2, "hooks": {"toString": []}, "env": {"__proto__": "x"}}',
    );
    const { problems, warnings } = validateSettingsDocument(document);
    expect(problems).toEqual([]);
    expect(pathsOf(warnings)).toEqual(['__proto__', 'constructor', 'hooks.toString']);
  });
});

describe('validateDesktopDocument', () => {
  it('leaves open what it does not know', () => {
    expect(
      validateDesktopDocument({
        banner: { text: 'x' },
        disabledBuiltinTools: ['Bash'],
        builtinToolPolicy: { Bash: 'ask' },
      }),
    ).toEqual({ problems: [], warnings: [] });
  });

  it.each<[unknown, string, RegExp]>([
    [{ inferenceModels: [] }, 'inferenceModels', /availableModels/],
    [{ inferenceGatewayBaseUrl: 'x' }, 'inferenceGatewayBaseUrl', /public_url/],
    [{ otlpEndpoint: 'x' }, 'otlpEndpoint', /telemetry\.forward_to/],
    [{ serve_to_desktop: true }, 'serve_to_desktop', /indentation/],
    [{ disabledBuiltinTools: 'Bash' }, 'disabledBuiltinTools', /list of strings/],
    [{ builtinToolPolicy: { Edit: 'blocked' } }, 'builtinToolPolicy.Edit', /allow or ask, not "blocked"/],
    ['x', '', /must be an object/],
  ])('refuses %j', (document, path, message) => {
    expect(validateDesktopDocument(document).problems).toEqual([
      { path, message: expect.stringMatching(message) },
    ]);
  });
});
