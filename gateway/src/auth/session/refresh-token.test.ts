import { describe, expect, it } from '@jest/globals';
import { createRefreshTokens } from './refresh-token.ts';
import { digest } from '../digest.ts';

const first = 'first-secret-first-secret-first-secret';
const second = 'second-secret-second-secret-second-secret';

describe('createRefreshTokens', () => {
  it('makes unguessable tokens that can be told from others', () => {
    const tokens = createRefreshTokens([first]);
    const token = tokens.create();
    expect(token).toMatch(/^cgr_[A-Za-z0-9_-]{43}$/);
    expect(tokens.create()).not.toBe(token);
    expect(tokens.successorOf(token)).toMatch(/^cgr_[A-Za-z0-9_-]{43}$/);
  });

  it('derives the same successor on every replica, and none without the secret', () => {
    const token = createRefreshTokens([first]).create();
    const successor = createRefreshTokens([first]).successorOf(token);
    expect(createRefreshTokens([first, second]).successorOf(token)).toBe(successor);
    expect(createRefreshTokens([second]).successorOf(token)).not.toBe(successor);
  });

  it('finds the newest token from an earlier one, also when the secret has been rotated since', () => {
    const tokens = createRefreshTokens([first]);
    const original = tokens.create();
    const newest = tokens.successorOf(tokens.successorOf(original));
    expect(tokens.currentFrom(original, digest(newest))).toBe(newest);
    expect(createRefreshTokens([second, first]).currentFrom(original, digest(newest))).toBe(newest);
    expect(createRefreshTokens([second]).currentFrom(original, digest(newest))).toBeUndefined();
  });

  it('finds it over a rotation of the secret on the way, and over a day of many refreshes', () => {
    const [before, after] = [createRefreshTokens([first]), createRefreshTokens([second, first])];
    const original = before.create();
    const newest = after.successorOf(after.successorOf(before.successorOf(original)));
    expect(after.currentFrom(original, digest(newest))).toBe(newest);
    let far = original;
    for (let step = 0; step < 60; step++) far = before.successorOf(far);
    expect(before.currentFrom(original, digest(far))).toBe(far);
  });
});
