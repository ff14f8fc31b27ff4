import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { sameQuantity } from './quantity.ts';

/**
 * Lists that server-side apply merges, by path without indices: with the fields that make the key of an item; without any,
 * the list is a set. Every other list belongs to its author as a whole.
 */
export type MergedLists = Readonly<Record<string, readonly string[]>>;

const METADATA: MergedLists = { ownerReferences: ['uid'], finalizers: [] };

function podLists(path: string): MergedLists {
  const containers = ['containers', 'initContainers', 'ephemeralContainers'].flatMap((list) => [
    [`${path}.${list}`, ['name']],
    [`${path}.${list}.env`, ['name']],
    [`${path}.${list}.ports`, ['containerPort', 'protocol']],
    [`${path}.${list}.volumeMounts`, ['mountPath']],
    [`${path}.${list}.volumeMounts.bindMountOptions`, []],
    [`${path}.${list}.volumeDevices`, ['devicePath']],
    [`${path}.${list}.resources.claims`, ['name']],
  ]);
  return {
    ...(Object.fromEntries(containers) as MergedLists),
    [`${path}.volumes`]: ['name'],
    ...prefixed(`${path}.volumes.ephemeral.volumeClaimTemplate.metadata`, METADATA),
    [`${path}.imagePullSecrets`]: ['name'],
    [`${path}.hostAliases`]: ['ip'],
    [`${path}.resourceClaims`]: ['name'],
    [`${path}.resources.claims`]: ['name'],
    [`${path}.schedulingGates`]: ['name'],
    [`${path}.evictionResponders`]: ['name'],
    [`${path}.topologySpreadConstraints`]: ['topologyKey', 'whenUnsatisfiable'],
  };
}

/** For the kinds that a controller of workloads makes; held to the API server's own OpenAPI documents by a test. */
export const MERGED_LISTS: MergedLists = {
  ...prefixed('metadata', METADATA),
  ...prefixed('spec.template.metadata', METADATA),
  ...podLists('spec.template.spec'),
  'spec.ports': ['port', 'protocol'],
  secrets: ['name'],
};

/** What the server puts where a part of a key is left out. */
const KEY_DEFAULTS: Readonly<Record<string, unknown>> = { protocol: 'TCP' };

/** Maps and fields whose values are quantities, which the server rewrites. */
const QUANTITIES = /(^|\.)((limits|requests)\.[^.].*|sizeLimit)$/;

/** The same text for equal documents, whatever the order of their fields; undefined fields do not count. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const fields = Object.keys(value)
    .filter((field) => value[field] !== undefined)
    .sort()
    .map((field) => `${JSON.stringify(field)}:${canonicalJson(value[field])}`);
  return `{${fields.join(',')}}`;
}

/** 128 bits in hexadecimal, of the canonical JSON. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 32);
}

/**
 * Where a live object is not what was asked for; undefined when applying would change nothing. The live object may have
 * more: fields, and items of lists that are merged. What others put there is theirs.
 *
 * @param answer what the server made of the same document when it was applied last, where that is known: a value that
 * it rewrote, or left out as the default, is then no difference.
 * @returns a path, such as `spec.template.spec.containers[gateway].image`.
 */
export function difference(
  desired: unknown,
  live: unknown,
  answer: { readonly value: unknown } | undefined,
  lists: MergedLists = MERGED_LISTS,
): string | undefined {
  return differs({ desired, live, answer: answer?.value, answered: answer !== undefined }, lists, '', '');
}

/**
 * A merge patch that makes merged lists what the document says, wherever the live object has items in them that the document has not;
 * metadata apart, where others may always write. Undefined when there is no such list.
 */
export function replacedLists(
  document: object,
  live: object,
  lists: MergedLists = MERGED_LISTS,
): Record<string, unknown> | undefined {
  const replaced = (desired: unknown, present: unknown, path: string): unknown => {
    const keys = lists[path];
    if (keys !== undefined && Array.isArray(desired) && Array.isArray(present)) {
      const wanted = new Set(desired.map((item) => keyOfItem(item, keys)));
      return present.every((item) => wanted.has(keyOfItem(item, keys))) ? undefined : desired;
    }
    if (!isObject(desired) || !isObject(present)) return undefined;
    const fields = Object.entries(desired)
      .filter(([field]) => field !== 'metadata')
      .map(([field, value]) => [field, replaced(value, present[field], join(path, field))] as const)
      .filter(([, value]) => value !== undefined);
    return fields.length === 0 ? undefined : Object.fromEntries(fields);
  };
  return replaced(document, live, '') as Record<string, unknown> | undefined;
}

interface Sides {
  readonly desired: unknown;
  readonly live: unknown;
  readonly answer: unknown;
  readonly answered: boolean;
}

/** @param path without indices, to look up; @param at with them, to tell. */
function differs(sides: Sides, lists: MergedLists, path: string, at: string): string | undefined {
  const { desired, live, answer, answered } = sides;
  // To apply null is to say nothing about a field.
  if (desired === undefined || desired === null) return undefined;
  if (isObject(desired) && isObject(live)) {
    for (const field of Object.keys(desired)) {
      const inner = {
        desired: desired[field],
        live: live[field],
        answer: isObject(answer) ? answer[field] : undefined,
        answered,
      };
      const found = differs(inner, lists, join(path, field), join(at, field));
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const keys = lists[path];
  if (keys !== undefined && Array.isArray(desired) && Array.isArray(live)) {
    for (const item of desired) {
      const key = keyOfItem(item, keys);
      const same = (other: unknown) => keyOfItem(other, keys) === key;
      const inner = {
        desired: item as unknown,
        live: live.find(same) as unknown,
        answer: Array.isArray(answer) ? (answer.find(same) as unknown) : undefined,
        answered,
      };
      const found = differs(inner, lists, path, `${at}[${key}]`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (equal(desired, live) || (answered && equal(answer, live))) return undefined;
  if (QUANTITIES.test(path) && sameQuantity(desired, live)) return undefined;
  return at;
}

function keyOfItem(item: unknown, keys: readonly string[]): string {
  if (keys.length === 0 || !isObject(item)) return String(item);
  return keys.map((key) => String(item[key] ?? KEY_DEFAULTS[key])).join(',');
}

function equal(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === 'object' && isDeepStrictEqual(plain(a), plain(b)));
}

/** As it would travel: without undefined fields. */
function plain(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}

function prefixed(path: string, lists: MergedLists): MergedLists {
  return Object.fromEntries(Object.entries(lists).map(([list, keys]) => [join(path, list), keys]));
}

function join(path: string, field: string): string {
  return path === '' ? field : `${path}.${field}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
