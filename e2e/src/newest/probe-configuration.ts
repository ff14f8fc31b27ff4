import type { ReferenceJudge } from './reference-judge.ts';

/** One complaint of the reference about `gateway.yaml`. */
interface Complaint {
  readonly code: string;
  readonly path: readonly (string | number)[];
  readonly keys?: readonly string[];
}

/**
 * Finds the keys of `gateway.yaml` that the reference knows and a document does not use.
 *
 * @param complete A document with every section and key that is known already.
 * @param names Names that a key could have.
 * @returns paths such as `oidc.groups_jsonpath`, list positions as `[]`.
 */
export async function unusedKeys(
  judge: ReferenceJudge,
  complete: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Promise<string[]> {
  const found = new Set<string>();
  const usedAnywhere = new Set(
    objectsIn(complete).flatMap((at) => keysOf(complete, at).map((key) => pathOf([...at, key]))),
  );
  for (const at of objectsIn(complete)) {
    const document = structuredClone(complete) as Record<string, unknown>;
    const object = at.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], document);
    const used = new Set(Object.keys(object as object));
    const added = names.filter((name) => !used.has(name));
    Object.assign(object as object, Object.fromEntries(added.map((name) => [name, [{ x: 1 }]])));
    const complaints = parse(await judge.configuration(document));
    const unknown = complaints.find(
      ({ code, path }) => code === 'unrecognized_keys' && path.map(String).join('.') === at.join('.'),
    )?.keys;
    // No such complaint: its keys are free, as those of headers.
    if (unknown === undefined) continue;
    const known = new Set(unknown);
    for (const name of added) if (!known.has(name)) found.add(pathOf([...at, name]));
  }
  return [...found].filter((path) => !usedAnywhere.has(path)).sort();
}

function keysOf(document: unknown, at: readonly string[]): string[] {
  return Object.keys(
    at.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], document) as object,
  );
}

function pathOf(keys: readonly string[]): string {
  return keys.map((key) => (/^\d+$/.test(key) ? '[]' : key)).join('.');
}

function parse(output: string): readonly Complaint[] {
  const from = output.indexOf('[\n');
  return from === -1 ? [] : (JSON.parse(output.slice(from, output.lastIndexOf(']') + 1)) as Complaint[]);
}

function objectsIn(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, each]) => objectsIn(each, [...at, key]));
  return Array.isArray(value) ? inner : [at, ...inner];
}
