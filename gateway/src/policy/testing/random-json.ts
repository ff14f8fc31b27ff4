import { isList, isObject, type Json, type JsonObject } from '../json.ts';

const KEYS = [
  'env',
  'permissions',
  'deny',
  'allow',
  'hooks',
  'Stop',
  'model',
  'ä',
  '10',
  '9',
  '__proto__',
  'zebra',
  'Zebra',
];
const SCALARS: readonly Json[] = [
  0,
  1.5,
  -0.25,
  true,
  false,
  null,
  '',
  'x',
  '"quoted"',
  '\u2028',
  'ünïcode',
  '😀',
];

/** A random JSON object with the keys that merge rules look at, and some nasty ones. */
export function randomObject(random: () => number, depth = 3): JsonObject {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const value = (left: number): Json => {
    const kind = left === 0 ? 0 : random();
    if (kind < 0.5) return pick(SCALARS);
    if (kind < 0.75) return Array.from({ length: Math.floor(random() * 4) }, () => value(left - 1));
    return randomObject(random, left - 1);
  };
  const entries = Array.from({ length: Math.floor(random() * 6) }, () => [pick(KEYS), value(depth)] as const);
  return Object.fromEntries(entries);
}

/** The same JSON with the keys of every object in another order. */
export function shuffled(value: Json, random: () => number): Json {
  if (isList(value)) return value.map((item) => shuffled(item, random));
  if (!isObject(value)) return value;
  const entries = Object.entries(value).map(
    ([key, inner]) => [random(), key, shuffled(inner, random)] as const,
  );
  entries.sort(([a], [b]) => a - b);
  return Object.fromEntries(entries.map(([, key, inner]) => [key, inner]));
}
