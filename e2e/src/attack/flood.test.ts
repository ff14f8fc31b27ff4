import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { usd } from '../spend/caps.ts';
import { billedIn, bodyWith, startBed, statuses, type Account, type Bed } from './bed.ts';

/** As many strangers at a time, from as many addresses as they like: the limits by address are lifted. */
const STRANGERS = 150;
const FLOOD_MS = 6_000;
const LIFTED = { max: 1_000_000, window_seconds: 10 };

let bed: Bed;
beforeAll(async () => {
  bed = await startBed({
    // An outage would serve without a hold: whoever makes one up has won.
    failurePolicy: 'open',
    caps: { capped: '0.05' },
    config: { rate_limits: { token: LIFTED, sign_in_pages: LIFTED, device_authorization: LIFTED } },
  });
}, 120_000);
afterAll(() => bed?.stop());

const FORMS = [
  ['/oauth/token', 'grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=a'],
  ['/oauth/token', 'grant_type=refresh_token&refresh_token=a'],
  ['/oauth/revoke', 'token=a'],
  ['/oauth/device_authorization', 'surface=claude_code'],
] as const;

/** @returns how often which status came, until the time is up. */
async function flood(url: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const agent = new Agent({ keepAlive: true, maxSockets: STRANGERS });
  const until = performance.now() + FLOOD_MS;
  let turn = 0;
  const post = (path: string, form: string): Promise<number> =>
    new Promise((resolve) => {
      const sent = request(
        `${url}${path}`,
        { method: 'POST', agent, headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        (answer) => {
          answer.resume();
          answer.once('end', () => resolve(answer.statusCode ?? 0));
        },
      );
      sent.once('error', () => resolve(0));
      sent.end(form);
    });
  const stranger = async (): Promise<void> => {
    while (performance.now() < until) {
      const [path, form] = FORMS[turn % FORMS.length] ?? FORMS[0];
      const status = await post(path, `${form}${turn++}`);
      counts[status] = (counts[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: STRANGERS }, stranger));
  agent.destroy();
  return counts;
}

it('a flood of strangers at the sign-in endpoints opens no cap', async () => {
  const url = bed.fleet.replicas[0]?.url ?? '';
  const flooding = flood(url);
  await sleep(500);
  const accounts: Account[] = [];
  const until = performance.now() + FLOOD_MS - 1_000;
  // Each costs so much that a few of them use the limit up; the rest must be refused.
  while (performance.now() < until) {
    accounts.push(
      ...(await Promise.all(
        Array.from({ length: 6 }, () =>
          bed.ask('capped', bodyWith({ max_tokens: 1_500 }), { output: 1_500 }),
        ),
      )),
    );
  }
  const strangers = await flooding;
  // It was one: PostgreSQL was asked, and those for whom there was no room were told so at once.
  expect(Object.values(strangers).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(500);
  expect(strangers['503'] ?? 0).toBeGreaterThan(0);
  expect(
    Object.keys(strangers).filter((status) => !['200', '400', '401', '429', '503'].includes(status)),
  ).toEqual([]);

  expect(statuses(accounts)['200'] ?? 0).toBeGreaterThan(0);
  expect(Object.keys(statuses(accounts)).filter((status) => !['200', '429'].includes(status))).toEqual([]);
  const charged = await bed.charged('capped');
  expect(charged).toBeGreaterThanOrEqual(billedIn(accounts));
  expect(charged).toBeLessThanOrEqual(usd('0.05'));
  expect(await bed.observer.violations()).toEqual([]);
}, 60_000);
