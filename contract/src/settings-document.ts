import { isIPv4 } from 'node:net';
import { DESKTOP_RESERVED_KEYS, SETTINGS_ALIASES, SETTINGS_KEYS } from './settings-keys.ts';
import { isObject, kindOf, Review, type DocumentVerdict } from './settings-review.ts';
import type { SettingShape } from './settings-shapes.ts';

export type { DocumentRemark, DocumentVerdict } from './settings-review.ts';

/**
 * Judges a Claude Code settings document (`cli`, `code`) before it is pushed to developers' machines.
 *
 * Claude Code drops entries that it cannot read, without a word, so that a misspelt deny rule or an incomplete list of
 * marketplaces would lock down nothing: wrong shapes of known keys are problems. Unknown keys only give a warning, since clients may be newer than this list.
 */
export function validateSettingsDocument(document: unknown): DocumentVerdict {
  const review = new Review();
  if (!isObject(document)) {
    review.problem('', `must be an object of settings, not ${kindOf(document)}`);
    return review.verdict();
  }
  for (const [key, value] of Object.entries(document)) {
    if (key === 'mcpServers') review.problem(key, MCP_SERVERS);
    else review.entry(SETTINGS_KEYS, '', key, value, 'a setting that this gateway knows');
  }
  for (const [alias, key] of Object.entries(SETTINGS_ALIASES)) {
    if (Object.hasOwn(document, alias) && Object.hasOwn(document, key))
      review.problem(alias, `is another name of ${key}, which stands here too: keep ${key} alone`);
  }
  reviewAvailableModels(review, document['availableModels']);
  reviewInternalNetworks(review, document['gatewayInternalNetworks']);
  return review.verdict();
}

/** Judges a `desktop` block: Claude Desktop's configuration, which the gateway completes. */
export function validateDesktopDocument(document: unknown): DocumentVerdict {
  const review = new Review();
  if (!isObject(document)) {
    review.problem('', `must be an object of settings, not ${kindOf(document)}`);
    return review.verdict();
  }
  for (const [key, value] of Object.entries(document)) {
    const remedy = Object.hasOwn(DESKTOP_RESERVED_KEYS, key) ? DESKTOP_RESERVED_KEYS[key] : undefined;
    if (remedy !== undefined) review.problem(key, `cannot be set here: ${remedy}`);
    const shape = Object.hasOwn(DESKTOP_SHAPES, key) ? DESKTOP_SHAPES[key] : undefined;
    if (shape !== undefined) review.value(shape, key, value);
  }
  return review.verdict();
}

const MCP_SERVERS =
  'cannot be pushed by managed settings. Use managedMcpServers for http and sse servers (same entries), or a ' +
  'managed-mcp.json file on the machines';

/** Values that the gateway itself computes with. */
const DESKTOP_SHAPES: Readonly<Record<string, SettingShape>> = {
  disabledBuiltinTools: 'strings',
  coworkEgressAllowedHosts: 'strings',
  builtinToolPolicy: { recordOf: { oneOf: ['allow', 'ask'] } },
};

const MAX_INTERNAL_NETWORKS = 4;
const MIN_PREFIX_LENGTH = 8;

/** Where one of these is wrong, clients refuse every sign-in: what their own gateway takes without looking. */
function reviewInternalNetworks(review: Review, networks: unknown): void {
  const path = 'gatewayInternalNetworks';
  if (networks === undefined) return;
  if (!Array.isArray(networks)) {
    review.problem(path, `must be a list of IPv4 networks such as 203.0.114.0/24, not ${kindOf(networks)}`);
    return;
  }
  if (networks.length > MAX_INTERNAL_NETWORKS)
    review.problem(path, `must have ${MAX_INTERNAL_NETWORKS} networks at most, not ${networks.length}`);
  for (const [index, network] of (networks as unknown[]).entries()) {
    const [address = '', length = '', ...rest] = typeof network === 'string' ? network.split('/') : [];
    const bits = /^\d{1,2}$/.test(length) ? Number(length) : NaN;
    if (isIPv4(address) && bits >= MIN_PREFIX_LENGTH && bits <= 32 && rest.length === 0) continue;
    review.problem(
      `${path}[${index}]`,
      `must be an IPv4 network of /${MIN_PREFIX_LENGTH} to /32, such as 203.0.114.0/24, or clients refuse to sign in`,
    );
  }
}

/** Names that mean a model only inside the client: the gateway sees what they resolve to. */
const CLIENT_ALIASES: ReadonlySet<string> = new Set(['default', 'best', 'opusplan', 'inherit']);

function reviewAvailableModels(review: Review, models: unknown): void {
  if (!Array.isArray(models)) return;
  if (models.length === 0) {
    review.warn(
      'availableModels',
      'is empty, so every request of these people is refused: list the models they may use',
    );
  }
  for (const [index, entry] of (models as unknown[]).entries()) {
    if (typeof entry !== 'string') continue;
    const path = `availableModels[${index}]`;
    if (CLIENT_ALIASES.has(entry.trim().toLowerCase())) {
      review.warn(
        path,
        `"${entry}" is an alias of the client and allows nothing here: list ids or families (fable, opus, sonnet, haiku)`,
      );
    } else if (entry.includes('*')) {
      review.warn(
        path,
        `"${entry}" matches no model: there are no wildcards, a prefix such as claude-opus-4 allows all that continue it`,
      );
    }
  }
}
