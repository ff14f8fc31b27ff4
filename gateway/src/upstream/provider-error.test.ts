import { afterEach, describe, expect, it } from '@jest/globals';
import { post, readAll, TestBed, until, type TestGateway } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const OK = JSON.stringify({ type: 'message' });

/** An upstream that answers everything so. */
async function upstream(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ url: string; calls: () => number }> {
  let calls = 0;
  const { url } = await bed.serve((request, response) => {
    calls++;
    void readAll(request).then(() => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  return { url, calls: () => calls };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly type: string;
  readonly message: string;
}

async function answerOf(gateway: TestGateway, path?: string): Promise<Answer> {
  const response = await post(gateway, undefined, {}, path);
  const body = (await response.json()) as { type: string; error: { type: string; message: string } };
  expect(body.type).toBe('error');
  return { status: response.status, headers: response.headers, ...body.error };
}

function envelope(type: string, message: string): object {
  return { type: 'error', error: { type, message }, request_id: 'req_upstream' };
}

const CREDIT =
  'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.';

describe('an account that may not go on', () => {
  it.each([
    ['402', 402, envelope('billing_error', 'There is an issue with your payment of account acme-prod.')],
    ['402 without words', 402, ''],
    ['no credit', 400, envelope('invalid_request_error', CREDIT)],
    [
      'a spend limit',
      400,
      envelope(
        'invalid_request_error',
        'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.',
      ),
    ],
    [
      'a spend limit of the workspace',
      400,
      envelope('invalid_request_error', 'You have reached your specified workspace API usage limits.'),
    ],
    ['disabled', 400, envelope('invalid_request_error', 'This organization has been disabled.')],
    [
      'words in a proxy’s own',
      400,
      {
        error: {
          message: `litellm.BadRequestError: AnthropicException - ${CREDIT}`,
          type: null,
          code: '400',
        },
      },
    ],
    [
      'a budget at a proxy',
      400,
      {
        error: {
          message: 'Budget has been exceeded! Current cost: 3.1',
          type: 'budget_exceeded',
          code: '400',
        },
      },
    ],
    ['as a rate limit', 429, envelope('billing_error', 'Account acme-prod is past due.')],
  ])('is the upstream’s trouble, not the request’s: %s', async (_name, status, body) => {
    const first = await upstream(status, body);
    const second = await upstream(200, OK);
    const gateway = await bed.gateway([first.url, second.url]);
    const response = await post(gateway);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(OK);
    expect([first.calls(), second.calls()]).toEqual([1, 1]);
    expect(gateway.log[0]).toMatchObject({
      msg: 'upstream failed',
      upstream: 'up0',
      remedy: expect.stringContaining('add credit'),
    });

    const alone = await bed.gateway([first.url]);
    const answer = await answerOf(alone);
    expect(answer).toMatchObject({
      status: 502,
      type: 'api_error',
      message: expect.stringContaining('tell the people who run the gateway'),
    });
    expect(answer.headers.get('x-should-retry')).toBe('false');
    expect(answer.message).not.toMatch(/credit|acme|billing|limit|disabled|budget/i);
  });

  it('is told in the log in the provider’s words, on one line', async () => {
    const { url } = await upstream(402, envelope('billing_error', 'regain access\non 2026-12-01'));
    const gateway = await bed.gateway([url]);
    await answerOf(gateway);
    expect(gateway.log[0]).toMatchObject({ provider_says: 'regain access on 2026-12-01' });
  });

  it('does not hide what another upstream says of the request', async () => {
    const first = await upstream(402, envelope('billing_error', 'past due'));
    const second = await upstream(400, envelope('invalid_request_error', 'prompt is too long: 2 > 1'));
    const gateway = await bed.gateway([first.url, second.url]);
    expect(await answerOf(gateway)).toMatchObject({ status: 400, message: 'prompt is too long: 2 > 1' });
  });

  it('with a refused credential beside it is one answer, and the log says what to do about each', async () => {
    const first = await upstream(401, envelope('authentication_error', 'invalid x-api-key'));
    const second = await upstream(400, envelope('invalid_request_error', CREDIT));
    const gateway = await bed.gateway([first.url, second.url]);
    const answer = await answerOf(gateway);
    expect(answer).toMatchObject({ status: 502, type: 'api_error' });
    expect(answer.message).toContain('Signing in again does not help');
    expect(gateway.log.slice(0, 2)).toMatchObject([
      { remedy: expect.stringContaining('renew upstreams[].auth') },
      { remedy: expect.stringContaining('add credit') },
    ]);
  });
});

const TOO_LONG = 'prompt is too long: 210000 tokens > 200000 maximum';

describe('an error of a proxy at base_url', () => {
  it.each([
    ['LiteLLM', 400, { error: { message: `AnthropicException - ${TOO_LONG}`, type: null, code: '400' } }],
    ['LiteLLM, with a type of its own', 400, { error: { message: TOO_LONG, type: 'BadRequestError' } }],
    ['the envelope with such a type', 400, envelope('ContextWindowExceededError', TOO_LONG)],
    ['a web framework', 400, { detail: TOO_LONG }],
    ['a text', 400, { error: TOO_LONG }],
    ['413', 413, { error: { message: TOO_LONG } }],
    ['413 in the envelope', 413, envelope('request_too_large', TOO_LONG)],
  ])('keeps the words by which the client compacts: %s', async (_name, status, body) => {
    const { url } = await upstream(status, body);
    const answer = await answerOf(await bed.gateway([url]));
    expect(answer).toMatchObject({ status: 400, type: 'invalid_request_error' });
    expect(answer.message).toContain(TOO_LONG);
  });

  it('is given them where a model of another maker says the same', async () => {
    const { url } = await upstream(400, {
      error: { message: "This model's maximum context length is 200000 tokens.", code: 'context_length' },
    });
    const answer = await answerOf(await bed.gateway([url]));
    expect(answer.message).toBe(
      "This model's maximum context length is 200000 tokens. (capability_rejected: prompt_too_long)",
    );
  });

  it.each([
    [413, 'request_too_large', 'Request exceeds the maximum size'],
    [422, 'invalid_request_error', 'messages.0: Input should be a valid string'],
  ])('keeps its words, with a type that clients know: %s', async (status, type, message) => {
    const { url } = await upstream(status, { error: { message, type: 'None', code: String(status) } });
    const answer = await answerOf(await bed.gateway([url]));
    expect(answer).toMatchObject({ status, type, message });
  });

  it.each([
    ['in the envelope', envelope('rate_limit_error', 'Extra usage is required for long context requests.')],
    ['in its own form', { error: { message: 'Extra usage is required for long context requests.' } }],
  ])('keeps the words of a limit that no waiting cures, %s', async (_name, body) => {
    const first = await upstream(429, body, { 'x-should-retry': 'false' });
    const gateway = await bed.gateway([first.url]);
    const answer = await answerOf(gateway);
    expect(answer).toMatchObject({
      status: 429,
      type: 'rate_limit_error',
      message: 'Extra usage is required for long context requests.',
    });
    expect(answer.headers.get('x-should-retry')).toBe('false');

    const second = await upstream(429, envelope('rate_limit_error', 'organization acme, 50 per minute'));
    const both = await answerOf(await bed.gateway([first.url, second.url]));
    expect(both.headers.get('x-should-retry')).toBeNull();
    expect(both.message).not.toContain('acme');
  });
});

describe('an endpoint that is not there', () => {
  it.each([
    ['FastAPI', 404, { detail: 'Not Found' }],
    ['the envelope', 404, envelope('not_found_error', 'Not Found')],
    ['a page', 404, '<h1>404</h1>'],
    ['the wrong method', 405, { detail: 'Method Not Allowed' }],
    ['not implemented', 501, envelope('api_error', 'not implemented')],
  ])('is 501 where it counts tokens: %s', async (_name, status, body) => {
    const first = await upstream(status, body);
    const second = await upstream(200, { input_tokens: 5 });
    const answer = await answerOf(await bed.gateway([first.url]), '/v1/messages/count_tokens');
    expect(answer).toMatchObject({ status: 501, type: 'not_supported' });
    expect(answer.message).toContain('cannot count tokens');
    expect(answer.headers.get('x-should-retry')).toBe('false');

    const both = await bed.gateway([first.url, second.url]);
    expect((await post(both, undefined, {}, '/v1/messages/count_tokens')).status).toBe(200);
  });

  it('is not told of a model that is not there', async () => {
    const { url } = await upstream(404, envelope('not_found_error', 'model: claude-x'));
    const answer = await answerOf(await bed.gateway([url]), '/v1/messages/count_tokens');
    expect(answer).toMatchObject({ status: 404, type: 'not_found_error', message: 'model: claude-x' });
  });

  it('tells whoever runs the gateway where to look', async () => {
    const { url } = await upstream(404, '<h1>404</h1>');
    const gateway = await bed.gateway([url]);
    await answerOf(gateway);
    await until(() => gateway.log.length > 0);
    expect(gateway.log[0]).toMatchObject({ remedy: expect.stringContaining('upstreams[].base_url') });
  });
});
