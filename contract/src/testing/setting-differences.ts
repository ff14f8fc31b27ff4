import { validateSettingsDocument } from '../settings-document.ts';
import { SETTINGS_KEYS } from '../settings-keys.ts';

/** A settings document with a single key, and where Claude Code's own gateway sees problems in it. */
export interface SettingVerdict {
  readonly document: Readonly<Record<string, unknown>>;
  /** Such as `statusLine.command`; none: it accepts the document. */
  readonly refused: readonly string[];
}

/** Where we differ on purpose, and why. Everything else must agree. */
export const REVIEWED_SETTINGS: Readonly<Record<string, string>> = {
  'lenient hooks': 'an event that we do not know may be one of a newer client: a warning',
  'lenient timeFormat': 'an open union',
  'lenient policyHelper.refreshIntervalMs': 'an open union',
  'lenient policyHelpers': 'managed settings of a machine name it, not those of a gateway',
  'lenient strictKnownMarketplaces.0.plugins.0': 'the many sources of plugins are left to the client',
  'lenient blockedMarketplaces.0.plugins.0': 'the many sources of plugins are left to the client',
  'lenient extraKnownMarketplaces.__probe.source':
    'a name that must be that of the marketplace; sources of plugins',
  'strict env.__probe': 'documented as strings, and an object is no environment variable',
  'strict gatewayInternalNetworks': 'the client refuses what its gateway takes',
  'strict hooks.__probe.0.hooks': 'hooks of unknown events are looked at, too',
  'strict blockedMarketplaces.0.source': 'a sentinel that one build in several knows',
  'strict managedMcpServers.__probe.url': 'named together with the missing type',
  'unknown key mcpServers': 'refused, with what to write instead',
};

/** @returns where our check of settings differs from these verdicts, such as `lenient statusLine.command`. */
export function settingDifferences(verdicts: readonly SettingVerdict[]): string[] {
  const differences = verdicts.flatMap(({ document, refused }) => {
    const [key = ''] = Object.keys(document);
    if (!Object.hasOwn(SETTINGS_KEYS, key)) return [`unknown key ${key}`];
    const ours = validateSettingsDocument(document).problems.map(({ path }) =>
      path.replace(/\[(\d+)\]/g, '.$1'),
    );
    return [
      ...refused
        .filter((path) => !ours.some((each) => sameBranch(path, each)))
        .map((path) => `lenient ${path}`),
      ...ours
        .filter((path) => !refused.some((each) => sameBranch(path, each)))
        .map((path) => `strict ${path}`),
    ];
  });
  return [...new Set(differences)].sort();
}

/** Those of the differences that nobody has reviewed. */
export function unreviewed(differences: readonly string[]): string[] {
  const reviewed = Object.keys(REVIEWED_SETTINGS);
  return differences.filter((each) => !reviewed.some((one) => each === one || each.startsWith(`${one}.`)));
}

/** Two checks may name the object or the member of it that is wrong. */
function sameBranch(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}
