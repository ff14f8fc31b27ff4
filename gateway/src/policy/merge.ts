import { canonicalJson } from './canonical-json.ts';
import { isList, isObject, type Json, type JsonObject } from './json.ts';

type MergeRule = (base: Json, over: Json) => Json;

/** Top-level keys of a settings document that are not simply replaced by the more specific policy. */
const SETTINGS_RULES: Readonly<Record<string, MergeRule>> = {
  permissions: mergeBy({ deny: unite, ask: unite }),
  disabledMcpjsonServers: unite,
  deniedMcpServers: unite,
  blockedMarketplaces: unite,
  hooks: mergeBy({}, unite),
  env: mergeBy({}),
  modelOverrides: mergeBy({}),
  skillOverrides: mergeBy({}),
};

/** The same for `desktop` blocks: a role can add restrictions on tools, never lift one of the base. */
const DESKTOP_RULES: Readonly<Record<string, MergeRule>> = {
  disabledBuiltinTools: unite,
  builtinToolPolicy: mergeBy({}, (base, over) => (base === 'allow' ? over : base)),
};

/**
 * Lays a policy's settings document over a more general one. Deny-lists and hooks are united, records merged key by
 * key, `permissions` field by field, everything else is replaced whole. Neither input is changed.
 */
export function mergeSettings(base: JsonObject, over: JsonObject): JsonObject {
  return mergeObjects(base, over, SETTINGS_RULES);
}

/** Lays a policy's `desktop` block over a more general one. */
export function mergeDesktop(base: JsonObject, over: JsonObject): JsonObject {
  return mergeObjects(base, over, DESKTOP_RULES);
}

/** The items of both lists, the base's first, each once. Anything but two lists: the second replaces the first. */
export function unite(base: Json, over: Json): Json {
  if (!isList(base) || !isList(over)) return over;
  const items = new Map<string, Json>();
  for (const item of [...base, ...over]) {
    const key = canonicalJson(item);
    if (!items.has(key)) items.set(key, item);
  }
  return [...items.values()];
}

/** Merges two objects key by key with the rule of each key, or with `otherwise` (by default: replace). */
function mergeBy(rules: Readonly<Record<string, MergeRule>>, otherwise?: MergeRule): MergeRule {
  return (base, over) =>
    isObject(base) && isObject(over) ? mergeObjects(base, over, rules, otherwise) : over;
}

function mergeObjects(
  base: JsonObject,
  over: JsonObject,
  rules: Readonly<Record<string, MergeRule>>,
  otherwise: MergeRule = (_base, value) => value,
): JsonObject {
  const merged = new Map<string, Json>(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const inherited = merged.get(key);
    const rule = Object.hasOwn(rules, key) ? (rules[key] as MergeRule) : otherwise;
    merged.set(key, inherited === undefined ? value : rule(inherited, value));
  }
  return Object.fromEntries(merged);
}
