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
