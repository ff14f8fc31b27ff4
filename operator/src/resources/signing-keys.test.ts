import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  HISTORY_ANNOTATION,
  nextSigningKeys,
  PROPAGATION_MS,
  signingKeysSecret,
  type SecretObject,
  type SigningKeys,
} from './signing-keys.ts';
import { gatewayWith } from './testing/inputs.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1);
const gateway = gatewayWith();

/** Numbers from 0 to 1 that are the same in every run. */
function randomOf(seed: number): () => number {
  let count = 0;
  return () => createHash('sha256').update(`${seed}/${count++}`).digest().readUInt32BE(0) / 2 ** 32;
}

let made = 0;
const randomBytes = (size: number): Uint8Array =>
  createHash('sha512').update(String(made++)).digest().subarray(0, size);

const next = (
  secret: SecretObject | undefined,
  at: number,
  { rotateEveryMs = 24 * HOUR, longestTokenMs = HOUR } = {},
): SigningKeys => nextSigningKeys(secret, { rotateEveryMs, longestTokenMs, now: new Date(at), randomBytes });

const stored = (keys: SigningKeys): SecretObject => signingKeysSecret(gateway, keys);

/** Every minute from one time to another. */
function run(keys: SigningKeys, from: number, to: number, options = {}): SigningKeys {
  let last = keys;
  for (let time = from; time <= to; time += MINUTE) last = next(stored(last), time, options);
  return last;
}

describe('nextSigningKeys', () => {
  it('starts with one key that signs at once', () => {
    const keys = next(undefined, START);
    expect(keys.order).toHaveLength(1);
    expect(keys.data[keys.order[0] ?? '']).toMatch(/^[A-Za-z0-9_-]{64}$/);
    expect(keys.rotatedAt.getTime()).toBe(START);
    expect(keys.rotatesAt.getTime()).toBe(START + 24 * HOUR);
  });

  it('changes nothing when nothing is due', () => {
    const keys = next(undefined, START);
    for (const after of [1, MINUTE, HOUR, 23 * HOUR]) {
      expect(stored(next(stored(keys), START + after))).toEqual(stored(keys));
    }
  });

  it('brings a key into the Secret, then into gateway.yaml, then to the front', () => {
    const first = next(undefined, START);
    const [old = ''] = first.order;
    const due = START + 24 * HOUR;
    const added = next(stored(first), due - 2 * PROPAGATION_MS);
    expect(added.order).toEqual([old]);
    const fresh = Object.keys(added.data).find((name) => name !== old) ?? '';
    expect(fresh).not.toBe('');
    const verifying = next(stored(added), due - PROPAGATION_MS);
    expect(verifying.order).toEqual([old, fresh]);
    expect(next(stored(verifying), due - 1).order).toEqual([old, fresh]);
    const signing = next(stored(verifying), due);
    expect(signing.order).toEqual([fresh, old]);
    expect(signing.rotatedAt.getTime()).toBe(due);
  });

  it('keeps the one before until its last token has ended, and not longer', () => {
    const due = START + 24 * HOUR;
    const signing = run(next(undefined, START), due - 2 * PROPAGATION_MS, due);
    expect(signing.order).toHaveLength(2);
    const end = due + PROPAGATION_MS + HOUR;
    expect(next(stored(signing), end - 1).order).toEqual(signing.order);
    const after = next(stored(signing), end);
    expect(after.order).toEqual(signing.order.slice(0, 1));
    expect(Object.keys(after.data)).toEqual(after.order);
  });

  it('remembers tokens of a lifetime that was longer', () => {
    const due = START + 24 * HOUR;
    const long = next(undefined, START, { longestTokenMs: 12 * HOUR });
    const signing = run(long, due - 2 * PROPAGATION_MS, due, { longestTokenMs: HOUR });
    expect(next(stored(signing), due + 11 * HOUR).order).toHaveLength(2);
    expect(next(stored(signing), due + 12 * HOUR + PROPAGATION_MS).order).toHaveLength(1);
  });

  it('goes through every step after the operator has been away for long', () => {
    const first = next(undefined, START);
    const late = START + 100 * 24 * HOUR;
    const added = next(stored(first), late);
    expect(added.order).toEqual(first.order);
    const verifying = next(stored(added), late + 10 * 24 * HOUR);
    expect(verifying.order[0]).toBe(first.order[0]);
    const signing = next(stored(verifying), late + 20 * 24 * HOUR);
    expect(signing.order).toEqual([verifying.order[1], first.order[0]]);
  });

  it('takes a shorter interval up at once', () => {
    const keys = next(undefined, START, { rotateEveryMs: 720 * HOUR });
    const [old] = keys.order;
    const later = START + 48 * HOUR;
    expect(run(keys, later, later + 15 * MINUTE).order).toEqual([expect.not.stringMatching(`^${old}$`), old]);
  });

  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'lets every token in until it ends, at every replica, whatever happens (%i)',
    (seed) => {
      const random = randomOf(seed);
      let time = START + Math.floor(random() * HOUR);
      let lifetime = HOUR;
      let keys = next(undefined, time);
      /** What was written, oldest first: each replica runs one of the last, at most as old as propagation takes. */
      const written = [{ at: time, keys, lifetime }];
      /** Of each key, when the last token ends that it has signed. */
      const ends = new Map<string, number>();
      const visible = () => {
        const since = time - PROPAGATION_MS;
        const current = written.findLastIndex(({ at }) => at <= since);
        return written.slice(Math.max(0, current));
      };
      let rotations = 0;
      let most = 0;
      let refused = 0;
      for (let step = 0; step < 1500; step++) {
        // Mostly each minute, now and then the operator is away.
        time += random() < 0.02 ? Math.floor(random() * 60 * HOUR) : Math.floor(random() * 2 * MINUTE);
        // Replicas go on signing while it is.
        for (const { keys: seen, lifetime: granted } of visible()) {
          const text = seen.data[seen.order[0] ?? ''] ?? '';
          ends.set(text, Math.max(ends.get(text) ?? 0, time + granted));
        }
        if (random() < 0.01) lifetime = [MINUTE, HOUR, 8 * HOUR, 48 * HOUR][Math.floor(random() * 4)] ?? HOUR;
        const now = next(stored(keys), time, { longestTokenMs: lifetime });
        if (now.order[0] !== keys.order[0]) rotations++;
        keys = now;
        written.push({ at: time, keys, lifetime });
        most = Math.max(most, keys.order.length);
        for (const { keys: seen } of visible()) {
          const verified = new Set(seen.order.map((name) => seen.data[name]));
          for (const [text, end] of ends) if (end > time && !verified.has(text)) refused++;
        }
      }
      expect(refused).toBe(0);
      expect(rotations).toBeGreaterThan(5);
      // Two days of lifetime and a day between keys.
      expect(most).toBeLessThanOrEqual(6);
    },
  );
});

describe('a Secret with garbage', () => {
  const good = next(undefined, START);
  const [name = ''] = good.order;
  const withData = (data: Record<string, string>): SecretObject => {
    const secret = stored(good);
    return { ...secret, data: { ...secret.data, ...data } };
  };
  const withHistory = (text: string): SecretObject => {
    const secret = stored(good);
    return { ...secret, metadata: { ...secret.metadata, annotations: { [HISTORY_ANNOTATION]: text } } };
  };
  const base64 = (text: string): string => Buffer.from(text).toString('base64');

  it.each([
    ['a key of another name', { password: base64('x'.repeat(64)) }],
    ['a text that is too short', { 'key-1': base64('short') }],
    ['an empty text', { 'key-1': '' }],
    ['no text at all', { 'key-1': base64('\0\u00ff'.repeat(40)) }],
  ])('does not use %s', (_, data) => {
    expect(next(withData(data), START + MINUTE)).toEqual(good);
  });

  it.each([
    ['nothing', undefined],
    ['a text', 'oops'],
    ['a number', '7'],
    ['null', 'null'],
    ['a list', '[1]'],
    ['another shape', JSON.stringify({ [name]: 'x' })],
    ['times that are none', JSON.stringify({ [name]: { made: 'soon', signs: 7, retired: {} } })],
    ['times that never come', JSON.stringify({ [name]: { made: '9999-01-01', signs: '9999-01-01' } })],
  ])('goes on with its key when its history is %s', (_, text) => {
    const keys = next(
      text === undefined ? { ...withHistory(''), metadata: { name: 'x' } } : withHistory(text),
      START + MINUTE,
    );
    expect(keys.order).toEqual([name]);
    expect(keys.data).toEqual(good.data);
    expect(run(keys, START + MINUTE + 24 * HOUR, START + 25 * HOUR).order[1]).toBe(name);
  });

  it('begins anew when its keys are gone', () => {
    const keys = next({ ...stored(good), data: {} }, START + MINUTE);
    expect(keys.order).toHaveLength(1);
    expect(keys.order[0]).not.toBe(name);
  });

  it('keeps every key for a while when it lost the history of several', () => {
    const rotated = run(good, START + 24 * HOUR - 2 * PROPAGATION_MS, START + 24 * HOUR);
    const lost = { ...stored(rotated), metadata: { name: 'x' } };
    const keys = next(lost, START + 24 * HOUR + MINUTE);
    expect(keys.order).toEqual(rotated.order);
    expect(run(keys, START + 24 * HOUR + 2 * MINUTE, START + 26 * HOUR).order).toEqual(
      rotated.order.slice(0, 1),
    );
  });

  it('never takes a name a second time', () => {
    const taken = { ...stored(good), data: { [`key-${START / 1000}`]: base64('short') } };
    expect(next(taken, START).order).toEqual([`key-${START / 1000}-1`]);
  });
});

describe('signingKeysSecret', () => {
  it('holds the keys in base64, and is named after the gateway', () => {
    const keys = next(undefined, START);
    const secret = signingKeysSecret(gateway, keys);
    expect(secret.metadata).toMatchObject({ name: 'main-signing-keys', namespace: 'claude' });
    expect(secret.type).toBe('Opaque');
    const [[name, text] = ['', '']] = Object.entries(keys.data);
    expect(Buffer.from(secret.data?.[name] ?? '', 'base64').toString()).toBe(text);
    expect(JSON.stringify(secret.metadata)).not.toContain(text);
  });
});
