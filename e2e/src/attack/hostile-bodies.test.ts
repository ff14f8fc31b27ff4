import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { ours } from '../harness/gateway-process.ts';
import { signIn } from '../harness/sign-in.ts';
import { startStack, type Stack } from '../harness/stack.ts';
import { AdminClient, usd } from '../spend/caps.ts';
import { HOSTILE_BODIES } from './hostile-bodies.ts';

/** For how long a request may keep a replica from all others, in CPU time: see event-loop.ts. */
const MAX_PAUSE_MS = 200;
/** A collection of garbage may fall into any of them: what counts is the best of so many. */
const TRIES = 4;
const HEAP_MB = 256;
const KEY = 'an-admin-key-of-at-least-thirty-two-bytes';

let stack: Stack;
let accessToken = '';
beforeAll(async () => {
  const { command, args } = ours(join(import.meta.dirname, 'event-loop.ts'));
  stack = await startStack({
    program: { command, args: [`--max-old-space-size=${HEAP_MB}`, ...args] },
    config: {
      admin: { write_keys: [{ id: 'test', key: KEY }] },
      limits: { max_buffered_request_bytes: 256 * 1024 * 1024 },
    },
  });
  ({ accessToken } = await signIn(stack.url, 'alice'));
  // Too little for any of them: everything that makes a worst case smaller is tried.
  const admin = new AdminClient(() => stack.url, KEY);
  await admin.set({
    scope: { type: 'organization' },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd('0.01'),
  });
}, 120_000);
afterAll(() => stack.stop());

async function send(body: Buffer, path: string): Promise<number> {
  const response = await fetch(`${stack.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${accessToken}`,
      'content-type': 'application/json',
      'x-claude-code-session-id': 's',
    },
    body,
  });
  await response.text();
  return response.status;
}

/** The longest that the replica has worked in one go since the last question, in ms of CPU time. */
async function longestPause(): Promise<number> {
  const [replica] = stack.replicas;
  if (replica === undefined) throw new Error('no replica');
  const before = replica.audit('event_loop').length;
  replica.signal('SIGUSR2');
  await replica.until(() => replica.audit('event_loop').length > before);
  return Number(replica.audit('event_loop').at(-1)?.['max_ms']);
}

it('a body of this size comes as far as its limit', async () => {
  const body = HOSTILE_BODIES['one text']?.() ?? Buffer.alloc(0);
  expect(await send(body, '/v1/messages')).toBe(429);
}, 60_000);

it.each(Object.keys(HOSTILE_BODIES))(
  'a body of 33 MB of %s does not keep the replica from others',
  async (name) => {
    const body = HOSTILE_BODIES[name]?.() ?? Buffer.alloc(0);
    let best = Infinity;
    for (let i = 0; i < TRIES && best >= MAX_PAUSE_MS; i++) {
      await longestPause();
      expect(await send(body, '/v1/messages')).toBeLessThan(500);
      best = Math.min(best, await longestPause());
    }
    expect(best).toBeLessThan(MAX_PAUSE_MS);
  },
  60_000,
);
