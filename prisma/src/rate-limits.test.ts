import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { at, POSTGRES_VERSIONS, usePostgres } from './testing/postgres.ts';

describe.each(POSTGRES_VERSIONS)('rate limits on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);
  const limit = { max: 25, windowSeconds: 60 };

  it('are exact over two replicas', async () => {
    const [a, b] = await Promise.all([postgres.open(), postgres.open()]);
    const key = randomUUID();
    const hits = await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 ? a : b).rateLimits.hit(key, limit, at(i))),
    );
    expect(hits.filter(({ allowed }) => allowed)).toHaveLength(25);
    expect(
      await postgres.sql('select hits from claude_gateway.rate_limit_windows where key = $1', [key]),
    ).toEqual([[25]]);
  });

  it('look without counting', async () => {
    const { rateLimits } = await postgres.open();
    const key = randomUUID();
    const two = { max: 2, windowSeconds: 60 };
    for (let i = 0; i < 5; i++) expect((await rateLimits.peek(key, two, at(0))).allowed).toBe(true);
    await rateLimits.hit(key, two, at(0));
    expect(await rateLimits.peek(key, two, at(0))).toEqual({ allowed: true, retryAfterSeconds: 0 });
    await rateLimits.hit(key, two, at(0));
    expect(await rateLimits.peek(key, two, at(15_000))).toEqual({ allowed: false, retryAfterSeconds: 45 });
    expect((await rateLimits.peek(key, two, at(60_000))).allowed).toBe(true);
  });

  it('say when to come back, and begin anew then', async () => {
    const { rateLimits } = await postgres.open();
    const key = randomUUID();
    const one = { max: 1, windowSeconds: 60 };
    expect(await rateLimits.hit(key, one, at(15_500))).toEqual({ allowed: true, retryAfterSeconds: 0 });
    expect(await rateLimits.hit(key, one, at(15_500))).toEqual({ allowed: false, retryAfterSeconds: 45 });
    expect(await rateLimits.hit(key, one, at(59_999))).toEqual({ allowed: false, retryAfterSeconds: 1 });
    expect(await rateLimits.hit(key, one, at(60_000))).toEqual({ allowed: true, retryAfterSeconds: 0 });
    expect(await rateLimits.hit(randomUUID(), one, at(15_500))).toEqual({
      allowed: true,
      retryAfterSeconds: 0,
    });
    expect((await rateLimits.hit(randomUUID(), { max: 0, windowSeconds: 60 }, at(0))).allowed).toBe(false);
  });
});
