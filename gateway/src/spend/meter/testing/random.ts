/** A source of numbers in [0, 1) that gives the same ones for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function pick<T>(random: () => number, choices: readonly [T, ...T[]]): T {
  return choices[Math.floor(random() * choices.length)] ?? choices[0];
}

/** Cuts a body in pieces: single bytes here, large ones there. */
export function randomChunks(random: () => number, body: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  const largest = pick(random, [1, 3, 17, 100, 1000, 100_000]);
  for (let at = 0; at < body.length;) {
    const size = 1 + Math.floor(random() * largest);
    chunks.push(body.subarray(at, at + size));
    at += size;
  }
  return chunks;
}
