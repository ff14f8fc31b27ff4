import { afterEach, expect, it } from '@jest/globals';
import { createApp } from './app.ts';
import { listen, stopListening } from './testing/listening.ts';

afterEach(stopListening);

/** What browsers ask for when somebody types an address. */
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

async function open(method: string, accept: string | undefined): Promise<Response> {
  const app = createApp([]);
  const { port } = await listen((request, response) => void app(request, response));
  const headers = accept === undefined ? {} : { accept };
  return fetch(`http://127.0.0.1:${port}/nope`, { method, headers });
}

it('shows a page to whoever opens an address that is not there in a browser', async () => {
  const answer = await open('GET', BROWSER);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8']);
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(await answer.text()).toMatch(/<h1>There is no page here<\/h1>[^]*href="\/device"/);
});

it.each([
  ['GET', undefined],
  ['GET', 'application/json'],
  ['GET', '*/*'],
  ['POST', BROWSER],
])('tells programs in the Anthropic envelope: %s %s', async (method, accept) => {
  const answer = await open(method, accept);
  expect(answer.status).toBe(404);
  expect(await answer.json()).toMatchObject({
    error: { type: 'not_found_error', message: `This gateway has nothing at ${method} /nope.` },
  });
});
