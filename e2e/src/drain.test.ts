import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { signIn } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ replicas: 2, config: { shutdown: { delay_seconds: 2, grace_seconds: 60 } } });
}, 120_000);
afterAll(() => stack.stop());

it('SIGTERM under load: streams end whole, new requests go to the other replica, exit 0', async () => {
  const { accessToken } = await signIn(stack.url, 'alice');
  const stream = async (): Promise<string> => {
    const response = await fetch(`${stack.url}/v1/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'claude-haiku-4-5',
        max_tokens: 400,
        stream: true,
        messages: [{ role: 'user', content: 'tell me a long story' }],
      }),
    });
    return response.status === 200 ? response.text() : `${response.status} ${await response.text()}`;
  };
  let running = true;
  const answers: Promise<string>[] = [];
  const load = (async () => {
    while (running) {
      answers.push(stream().catch((error: unknown) => `failed: ${String(error)}`));
      await sleep(10);
    }
  })();
  await sleep(500);
  const [leaving, staying] = stack.replicas;
  leaving?.signal('SIGTERM');
  expect(await leaving?.exited).toBe(0);
  await sleep(500);
  running = false;
  await load;
  const texts = await Promise.all(answers);
  expect(texts.length).toBeGreaterThan(50);
  expect(texts.filter((text) => !text.includes('event: message_stop'))).toEqual([]);
  expect((await fetch(`${staying?.url}/readyz`)).status).toBe(200);
  expect(leaving?.lines.some((line) => line['msg'] === 'stopped' && line['cut'] === 0)).toBe(true);
}, 90_000);
