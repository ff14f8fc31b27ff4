import { API_GROUP, type ClaudeGateway } from '@claude-gateway/crds';
import type { KubeObject } from '../kube/objects.ts';
import { child } from './child.ts';
import { SECRETS } from './types.ts';

/** When a key passed from one stage to the next. Times are ISO 8601 in UTC. */
export interface SigningKeyHistory {
  /** Put into the Secret, so that it reaches the pods. */
  readonly made: string;
  /** Named in gateway.yaml: every gateway accepts tokens that it has signed. */
  readonly verifies?: string;
  /** First in gateway.yaml: gateways sign with it. */
  readonly signs?: string;
  /** Of one that signs: the longest lifetime of tokens while it has done so, in ms. */
  readonly longestTokenMs?: number;
  /** Another one has signed since. */
  readonly retired?: string;
}

export interface SigningKeys {
  /** Key of the Secret's data to signing secret (text). */
  readonly data: Readonly<Record<string, string>>;
  /** Keys of the data that gateway.yaml names: the first signs, all verify. */
  readonly order: readonly string[];
  /** When the present one began to sign. */
  readonly rotatedAt: Date;
  /** When the next one does. */
  readonly rotatesAt: Date;
  /** By key of the data. */
  readonly history: Readonly<Record<string, SigningKeyHistory>>;
}

export interface SigningKeysOptions {
  readonly rotateEveryMs: number;
  /** Of all tokens that the gateway issues. */
  readonly longestTokenMs: number;
  readonly now: Date;
  readonly randomBytes: (size: number) => Uint8Array;
}

/** The parts of a Secret that matter here. */
export interface SecretObject extends KubeObject {
  readonly type?: string;
  /** In base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/** Where the Secret keeps the history of its keys. */
export const HISTORY_ANNOTATION = `${API_GROUP}/signing-keys`;

/**
 * How long it may take until what the operator has written is in force in every pod, in ms: kubelets look once a minute, and
 * caches add to that.
 */
export const PROPAGATION_MS = 300_000;
/** No session.ttl is longer: 720h. */
const LONGEST_TOKEN_MS = 720 * 3_600_000;
/** Times further ahead than this are no times of ours, whatever the clock of another operator said. */
const CLOCK_SKEW_MS = 24 * 3_600_000;

const KEY_NAME = /^key-\d{1,15}(-\d{1,3})?$/;
/** What the gateway asks of a secret, and what is made here: 48 bytes in base64url. */
const KEY_TEXT = /^[A-Za-z0-9_-]{43,}$/;

interface Key {
  readonly name: string;
  readonly text: string;
  readonly made: number;
  verifies: number | undefined;
  signs: number | undefined;
  longestTokenMs: number;
  retired: number | undefined;
}

/** The name of the Secret. */
export const signingKeysName = ({ metadata: { name } }: ClaudeGateway): string => `${name}-signing-keys`;

/**
 * What the Secret is to hold now, given what it holds. Equal to that when nothing is due.
 *
 * Replicas hear of a change one after the other, so a key comes in three steps, {@link PROPAGATION_MS} apart: it is in the
 * Secret; every gateway verifies with it; it signs. The one before it is kept until the last token that it may have
 * signed has ended. What in the Secret is no key of ours is not used.
 */
export function nextSigningKeys(
  existing: SecretObject | undefined,
  { rotateEveryMs, longestTokenMs, now, randomBytes }: SigningKeysOptions,
): SigningKeys {
  const time = now.getTime();
  const keys = read(existing, time);
  const make = (): Key => {
    const text = Buffer.from(randomBytes(48)).toString('base64url');
    const key = { name: freeName(keys, existing, time), text, made: time };
    const fresh = { ...key, verifies: undefined, signs: undefined, longestTokenMs: 0, retired: undefined };
    keys.push(fresh);
    return fresh;
  };
  const retire = (key: Key): void => {
    key.retired = time;
  };

  const live = (): Key[] => keys.filter(({ retired }) => retired === undefined);
  const signing = live().filter(({ signs }) => signs !== undefined);
  // At the start, or when the history is lost: there is nobody to wait for.
  const signer = newest(signing, 'signs') ?? newest(live(), 'verifies') ?? newest(live(), 'made') ?? make();
  signer.verifies ??= time;
  signer.signs ??= time;
  // Tokens of the old lifetime are about after it has been shortened.
  signer.longestTokenMs = Math.max(signer.longestTokenMs, longestTokenMs);

  const waiting = live().filter((key) => key !== signer);
  let next = newest(
    waiting.filter(({ signs, made }) => signs === undefined && made > signer.made),
    'made',
  );
  for (const key of waiting) if (key !== next) retire(key);
  if (next === undefined && time >= signer.signs + rotateEveryMs - 2 * PROPAGATION_MS) next = make();
  if (next !== undefined) {
    if (next.verifies === undefined) {
      if (time >= next.made + PROPAGATION_MS) next.verifies = time;
    } else if (time >= next.verifies + PROPAGATION_MS && time >= signer.signs + rotateEveryMs) {
      retire(signer);
      next.signs = time;
      next.longestTokenMs = longestTokenMs;
    }
  }
  return summary(
    keys.filter((key) => key.retired === undefined || time < endOf(key, longestTokenMs)),
    rotateEveryMs,
  );
}

/** When no token that it has signed is valid any more. Some replicas sign with it for a while after it was retired. */
function endOf({ retired = 0, longestTokenMs: own }: Key, longestTokenMs: number): number {
  return retired + PROPAGATION_MS + (own === 0 ? longestTokenMs : own);
}

/** The Secret that holds them. */
export function signingKeysSecret(gateway: ClaudeGateway, { data, history }: SigningKeys): SecretObject {
  const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
  const content = { type: 'Opaque', data: Object.fromEntries(encoded) as Record<string, string> };
  const { object } = child(SECRETS, gateway, content, {
    name: signingKeysName(gateway),
    annotations: { [HISTORY_ANNOTATION]: JSON.stringify(history) },
  });
  return { ...object, ...content };
}

function summary(keys: readonly Key[], rotateEveryMs: number): SigningKeys {
  const signer = newest(
    keys.filter(({ signs, retired }) => signs !== undefined && retired === undefined),
    'signs',
  ) as Key;
  const others = keys
    .filter((key) => key !== signer && key.verifies !== undefined)
    .sort((one, other) => other.made - one.made || (one.name < other.name ? 1 : -1));
  const byName = keys.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const rotatedAt = signer.signs ?? 0;
  return {
    data: Object.fromEntries(byName.map(({ name, text }) => [name, text])),
    order: [signer, ...others].map(({ name }) => name),
    rotatedAt: new Date(rotatedAt),
    rotatesAt: new Date(rotatedAt + rotateEveryMs),
    history: Object.fromEntries(byName.map((key) => [key.name, historyOf(key)])),
  };
}

function historyOf({ made, verifies, signs, longestTokenMs, retired }: Key): SigningKeyHistory {
  const iso = (time: number): string => new Date(time).toISOString();
  return {
    made: iso(made),
    ...(verifies !== undefined && { verifies: iso(verifies) }),
    ...(signs !== undefined && { signs: iso(signs) }),
    ...(longestTokenMs > 0 && { longestTokenMs }),
    ...(retired !== undefined && { retired: iso(retired) }),
  };
}

/** The keys of the Secret that are ours; one whose history is lost counts as one that verifies, since it may have signed. */
function read(secret: SecretObject | undefined, now: number): Key[] {
  const histories = parseHistories(secret?.metadata.annotations?.[HISTORY_ANNOTATION]);
  return Object.entries(secret?.data ?? {}).flatMap(([name, base64]) => {
    const text = Buffer.from(String(base64), 'base64').toString('utf8');
    if (!KEY_NAME.test(name) || !KEY_TEXT.test(text)) return [];
    const history = histories[name];
    const field = (key: string): unknown => (isRecord(history) ? history[key] : undefined);
    const at = (key: string): number | undefined => timeOf(field(key), now);
    const made = at('made');
    const longest = field('longestTokenMs');
    const [verifies, signs, retired] = [at('verifies'), at('signs'), at('retired')];
    const key: Key = {
      name,
      text,
      made: made ?? Math.min(now, Number(name.split('-')[1]) * 1000),
      // Who signs or has signed verifies too.
      verifies: verifies ?? signs ?? retired ?? (made === undefined ? now : undefined),
      signs,
      longestTokenMs: typeof longest === 'number' && longest > 0 ? Math.min(longest, LONGEST_TOKEN_MS) : 0,
      retired,
    };
    return [key];
  });
}

function parseHistories(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}');
    return isRecord(parsed) ? parsed : {};
  } catch {
    return {};
  }
}

function timeOf(value: unknown, now: number): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : NaN;
  return Number.isFinite(time) && time >= 0 && time <= now + CLOCK_SKEW_MS ? time : undefined;
}

function newest(keys: readonly Key[], by: 'made' | 'verifies' | 'signs'): Key | undefined {
  return keys
    .filter((key) => key[by] !== undefined)
    .toSorted((one, other) => (other[by] ?? 0) - (one[by] ?? 0) || (one.name < other.name ? 1 : -1))[0];
}

/** Names never come back: what a pod has read under one must not become something else. */
function freeName(keys: readonly Key[], existing: SecretObject | undefined, time: number): string {
  const taken = new Set([...keys.map(({ name }) => name), ...Object.keys(existing?.data ?? {})]);
  const base = `key-${Math.floor(time / 1000)}`;
  let name = base;
  for (let i = 1; taken.has(name); i++) name = `${base}-${i}`;
  return name;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
