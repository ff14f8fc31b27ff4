import { describe, expect, it } from '@jest/globals';
import { canonicalJson, settingsChecksum } from './canonical-json.ts';
import type { JsonObject } from './json.ts';
import { seededRandom } from '../testing/random.ts';
import { fixture } from './testing/fixtures.ts';
import { randomObject, shuffled } from './testing/random-json.ts';

interface MergeRecording {
  readonly cases: readonly {
    readonly name: string;
    readonly merged: JsonObject;
    readonly checksum: string;
  }[];
}

const checksums = fixture<MergeRecording>('merge.json').cases;
const nasty = fixture<{ cases: readonly { settings: JsonObject; checksum: string }[] }>(
  'checksums.json',
).cases;

describe('settingsChecksum', () => {
  it.each(nasty)('is what the reference sends: $settings', ({ settings, checksum }) => {
    expect(settingsChecksum(settings)).toBe(checksum);
  });

  it.each(checksums)('is what the reference sends: $name', ({ merged, checksum }) => {
    expect(settingsChecksum(merged)).toBe(checksum);
  });

  // python3: hashlib.sha256(json.dumps(doc, sort_keys=True, separators=(',', ':'), ensure_ascii=False).encode())
  it.each<[JsonObject, string]>([
    [{}, '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'],
    [
      { b: 1, a: { d: [1, { z: null, y: true }], c: 'x y' } },
      '9c5da942f8a238106baa203c689f7e3db60c4911f98dc8c5f4be5687fffa9e67',
    ],
    [{ ä: 'ü', Z: '😀', a: '"\\\n' }, '11c2ffd9ea70bdb0baa5bdf605c52dc435d290857a4a025ca8f48f573e83e881'],
  ])('is what Python computes: %j', (document, hex) => {
    expect(settingsChecksum(document)).toBe(`sha256:${hex}`);
  });

  it('does not depend on the order of keys, and depends on everything else', () => {
    const random = seededRandom(1);
    const seen = new Map<string, string>();
    for (let run = 0; run < 500; run++) {
      const document = randomObject(random);
      const checksum = settingsChecksum(document);
      expect(settingsChecksum(shuffled(document, random) as JsonObject)).toBe(checksum);
      expect(JSON.parse(canonicalJson(document))).toEqual(document);
      const known = seen.get(checksum);
      if (known !== undefined) expect(canonicalJson(document)).toBe(known);
      seen.set(checksum, canonicalJson(document));
    }
    expect(seen.size).toBeGreaterThan(300);
  });
});
