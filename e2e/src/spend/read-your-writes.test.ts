import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { usd } from './caps.ts';
import { Client, type Got } from './client.ts';
import { startFleet, WRITE_KEY, type Fleet } from './fleet.ts';
import { startMeteredUpstream, type MeteredUpstream } from './metered-upstream.ts';

/** Whoever sets a limit, and asks right after that, has to find it in force: where it was set, without waiting. */
const ROUNDS = 10;
const CHEAP = { input: 10, output: 5, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, webSearches: 0 };

let upstream: MeteredUpstream;
let fleet: Fleet;
const client = new Client();
beforeAll(async () => {
  upstream = await startMeteredUpstream({
    plan: () => ({ tokens: CHEAP, delayMs: 0, streamMs: 0, pieces: 1 }),
  });
  fleet = await startFleet({ replicas: 1, upstreamUrl: upstream.url });
}, 120_000);
afterAll(async () => {
  client.close();
  await fleet?.stop();
  await upstream?.stop();
});

it('a limit is in force for the very next request, and so is its end', async () => {
  const [{ url }] = fleet.replicas as [Fleet['replicas'][0]];
  const bearer = fleet.bearer({ sub: 'alice', groups: [] });
  const limits = `${url}/v1/organizations/spend_limits`;
  const headers = { 'x-api-key': WRITE_KEY, 'content-type': 'application/json' };
  const ask = (): Promise<Got> =>
    client.ask(url, bearer, {
      index: 0,
      model: 'claude-opus-4-8',
      maxTokens: 1024,
      bytes: 500,
      stream: true,
      cache: 'none',
      webSearches: 0,
    });
  const statuses: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const set = await fetch(limits, {
      method: 'POST',
      headers,
      body: JSON.stringify({ scope: { type: 'user', user_id: 'alice' }, period: 'daily', amount: '0' }),
    });
    const { id } = (await set.json()) as { id: string };
    expect(set.status).toBe(200);
    statuses.push((await ask()).status);
    expect((await fetch(`${limits}/${id}`, { method: 'DELETE', headers })).status).toBe(200);
    statuses.push((await ask()).status);
  }
  expect(statuses).toEqual(Array.from({ length: ROUNDS }, () => [429, 200]).flat());
}, 60_000);

it('somebody who was just here has their groups in the report of what applies to whom', async () => {
  const [{ url }] = fleet.replicas as [Fleet['replicas'][0]];
  const bearer = fleet.bearer({ sub: 'bob', groups: ['eng'] });
  await fetch(`${url}/managed/settings`, { headers: { authorization: `Bearer ${bearer}` } });
  await fleet.admin.set({
    scope: { type: 'rbac_group', group: 'eng' },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd('3.00'),
  });
  const answer = await fetch(`${url}/v1/organizations/spend_limits/effective?user_ids[]=bob&period[]=daily`, {
    headers: { 'x-api-key': WRITE_KEY },
  });
  expect(JSON.stringify(await answer.json())).toContain('eng');
});
