import { expect, it } from '@jest/globals';
import { Parts } from './parts.ts';

function counted() {
  const made: string[] = [];
  const closed: string[] = [];
  const use = (parts: Parts, name: string, setting: unknown) =>
    parts.use(
      name,
      setting,
      () => {
        made.push(name);
        return { name, setting };
      },
      (value) => {
        closed.push(`${value.name}=${JSON.stringify(value.setting)}`);
      },
    );
  return { made, closed, use };
}

it('keeps what did not change, makes what did, and closes what nobody uses', async () => {
  const { made, closed, use } = counted();
  const first = new Parts();
  const pool = await use(first, 'pool', { url: 'a' });
  await use(first, 'provider', { issuer: 'x' });
  const second = new Parts(first);
  expect(await use(second, 'pool', { url: 'a' })).toBe(pool);
  await use(second, 'provider', { issuer: 'y' });
  await first.close(second);
  expect(made).toEqual(['pool', 'provider', 'provider']);
  expect(closed).toEqual(['provider={"issuer":"x"}']);
  await second.close();
  expect(closed).toEqual(['provider={"issuer":"x"}', 'pool={"url":"a"}', 'provider={"issuer":"y"}']);
});

it('a successor that failed half-way can be let go of without harm to the one in force', async () => {
  const { closed, use } = counted();
  const first = new Parts();
  await use(first, 'pool', { url: 'a' });
  const second = new Parts(first);
  await use(second, 'pool', { url: 'a' });
  await use(second, 'pool', { url: 'b' });
  await expect(second.use('provider', {}, () => Promise.reject(new Error('no discovery')))).rejects.toThrow(
    'no discovery',
  );
  await second.close(first);
  expect(closed).toEqual(['pool={"url":"b"}']);
});
