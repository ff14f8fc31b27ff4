/** Model families that an allow-list may name as a whole. */
const FAMILIES: ReadonlySet<string> = new Set(['fable', 'opus', 'sonnet', 'haiku']);

/**
 * Compiles an `availableModels` list into a test for a model, given by all its names (lower case).
 *
 * An entry allows the model of exactly that name and every model whose name continues it after a hyphen
 * (`claude-opus-4` allows `claude-opus-4-8`); the leading `claude-` may be left out. A family name (`opus`) allows
 * the whole family, unless another entry names something within that family: then it only says the same less
 * precisely and is ignored. Letter case, surrounding spaces and a `[1m]` suffix do not matter; there are no
 * wildcards. Client aliases such as `default` or `opusplan` match nothing.
 */
export function compileAvailableModels(entries: readonly string[]): (names: readonly string[]) => boolean {
  const normalised = entries.map(normaliseEntry).filter((entry) => entry !== '');
  const prefixes = normalised.filter((entry) => !FAMILIES.has(entry));
  const narrowed = new Set(prefixes.flatMap(segmentsOf));
  const families = normalised.filter((entry) => FAMILIES.has(entry) && !narrowed.has(entry));
  return (names) =>
    names.some(
      (name) =>
        prefixes.some((prefix) => continues(name, prefix) || continues(name, `claude-${prefix}`)) ||
        (families.length > 0 && segmentsOf(name).some((segment) => families.includes(segment))),
    );
}

/** An entry as it is compared: trimmed, lower case, without the client's context-size suffix. */
export function normaliseEntry(entry: string): string {
  return entry
    .trim()
    .toLowerCase()
    .replace(/\[[^[\]]*\]$/, '');
}

function continues(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && (name.length === prefix.length || name[prefix.length] === '-');
}

function segmentsOf(name: string): string[] {
  return name.split(/[^a-z0-9]+/);
}
