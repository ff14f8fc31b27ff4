import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import {
  validateDesktopDocument,
  validateSettingsDocument,
  type DocumentRemark,
} from './settings-document.ts';
import { settingDifferences, unreviewed, type SettingVerdict } from './testing/setting-differences.ts';

const { release, documents, verdicts } = JSON.parse(
  readFileSync(new URL('./fixtures/settings-verdicts.json', import.meta.url), 'utf8'),
) as {
  /** Of Claude Code, whose gateway said all this. */
  readonly release: string;
  /** Whole documents: some mistakes deep inside, permission rules, a sound one. */
  readonly documents: readonly [SettingVerdict, SettingVerdict, SettingVerdict];
  readonly verdicts: readonly SettingVerdict[];
};

const pathsOf = (remarks: readonly DocumentRemark[]): string[] => remarks.map(({ path }) => path);

describe('compared with the reference', () => {
  it(`agrees with what Claude Code ${release} says of each key, its values and its members`, () => {
    expect(verdicts.length).toBeGreaterThan(500);
    expect(unreviewed(settingDifferences(verdicts))).toEqual([]);
  });

  const [nested, rules, good] = documents;

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
    [{ strictKnownMarketplaces: ['acme/plugins'] }, 'strictKnownMarketplaces[0]', /an object, not a string/],
    [
      { strictKnownMarketplaces: [{ source: 'github' }] },
      'strictKnownMarketplaces[0].repo',
      /a string, not missing/,
    ],
    [{ allowedChannelPlugins: ['foo'] }, 'allowedChannelPlugins[0]', /an object, not a string/],
    [{ spinnerVerbs: { verbs: ['A'] } }, 'spinnerVerbs.mode', /append or replace, not missing/],
    [{ statusLine: { type: 'command' } }, 'statusLine.command', /a string, not missing/],
    [{ allowedMcpServers: [{}] }, 'allowedMcpServers[0]', /exactly one of .* has none/],
    [
      { managedMcpServers: { a: { type: 'http', url: 'https://a.example', env: {} } } },
      'managedMcpServers.a.env',
      /name a program/,
    ],
    [{ gatewayInternalNetworks: '203.0.114.0/24' }, 'gatewayInternalNetworks', /a list of IPv4 networks/],
    [{ gatewayInternalNetworks: ['203.0.114.0'] }, 'gatewayInternalNetworks[0]', /IPv4 network of \/8/],
    [{ gatewayInternalNetworks: ['203.0.0.0/7'] }, 'gatewayInternalNetworks[0]', /refuse to sign in/],
    [{ gatewayInternalNetworks: [1] }, 'gatewayInternalNetworks[0]', /IPv4 network/],
    [
      { gatewayInternalNetworks: Array.from({ length: 5 }, (_, i) => `8.${i}.0.0/16`) },
      'gatewayInternalNetworks',
      /4 networks at most/,
    ],
    [{ cleanupPeriodDays: 0 }, 'cleanupPeriodDays', /more than 0/],
    [{ feedbackSurveyRate: 5 }, 'feedbackSurveyRate', /1 at most/],
    [
      { strictKnownMarketplaces: [], allowedMarketplaces: [] },
      'allowedMarketplaces',
      /another name of strictKnownMarketplaces/,
    ],
    [{ permissions: { deny: 'WebFetch' } }, 'permissions.deny', /list of strings, not a string/],
    [{ permissions: { deny: ['WebFetch', 5] } }, 'permissions.deny[1]', /a string, not a number/],
    [{ permissions: { deny: ['webFetch'] } }, 'permissions.deny[0]', /as in WebFetch/],
    [{ permissions: ['WebFetch'] }, 'permissions', /an object, not a list/],
    [{ env: { A: null } }, 'env.A', /a string, not empty/],
    [{ env: ['A=1'] }, 'env', /object of names/],
    [{ availableModels: 'opus' }, 'availableModels', /list of strings/],
    [{ allowManagedHooksOnly: 'yes' }, 'allowManagedHooksOnly', /true or false, not a string/],
    [{ hooks: { Stop: { hooks: [] } } }, 'hooks.Stop', /a list, not an object/],
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
