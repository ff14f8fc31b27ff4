import { afterEach, describe, expect, it } from '@jest/globals';
import {
  startMessagesUpstream,
  type MessagesUpstream,
  type MessagesUpstreamOptions,
} from './messages-upstream.ts';

let upstream: MessagesUpstream | undefined;
afterEach(async () => {
  await upstream?.stop();
  upstream = undefined;
});

const HELLO = {
  model: 'claude-opus-4-8',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'good morning' }],
};

async function ask(
  options: MessagesUpstreamOptions,
  body: object = HELLO,
  path = '/v1/messages?beta=true',
): Promise<Response> {
  upstream ??= await startMessagesUpstream(options);
  return fetch(`${upstream.url}${path}`, { method: 'POST', body: JSON.stringify(body) });
}

describe('the development upstream', () => {
  it('echoes, whole', async () => {
    const response = await ask({});
    expect(await response.json()).toMatchObject({
      type: 'message',
      model: 'claude-opus-4-8',
      content: [{ type: 'text', text: 'The development upstream heard: good morning' }],
      stop_reason: 'end_turn',
      usage: { output_tokens: 7 },
    });
    expect(upstream?.requests()).toMatchObject([{ path: '/v1/messages', query: '?beta=true', json: HELLO }]);
  });

  it('echoes, as a stream of events that add up to the same', async () => {
    const text = await (await ask({}, { ...HELLO, stream: true })).text();
    const events = text
      .trim()
      .split('\n\n')
      .map(
        (event) =>
          JSON.parse(event.split('\ndata: ')[1] ?? '') as { type: string; delta?: { text?: string } },
      );
    expect(events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1])).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    expect(events.map(({ delta }) => delta?.text ?? '').join('')).toBe(
      'The development upstream heard: good morning',
    );
  });

  it('keeps to max_tokens', async () => {
    expect(await (await ask({ tokens: 50 }, { ...HELLO, max_tokens: 3 })).json()).toMatchObject({
      stop_reason: 'max_tokens',
      usage: { output_tokens: 3 },
    });
  });

  it('answers with a document when the request brings a JSON schema', async () => {
    const properties = { title: { type: 'string' }, count: { type: 'integer' }, kind: { enum: ['a', 'b'] } };
    const format = { type: 'json_schema', schema: { type: 'object', properties } };
    const response = await ask({}, { ...HELLO, output_config: { format } });
    const { content } = (await response.json()) as { content: [{ text: string }] };
    expect(JSON.parse(content[0].text)).toEqual({ title: 'Development session', count: 0, kind: 'a' });
  });

  it('counts, lists models, and knows no other path', async () => {
    const counted = await ask({ models: ['a', 'b'] }, HELLO, '/v1/messages/count_tokens');
    expect(await counted.json()).toEqual({ input_tokens: Math.ceil(JSON.stringify(HELLO).length / 4) });
    const models = (await (await fetch(`${upstream?.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(models.data.map(({ id }) => id)).toEqual(['a', 'b']);
    expect((await ask({}, HELLO, '/v1/elsewhere')).status).toBe(404);
    expect((await ask({}, { model: 'x' })).status).toBe(400);
  });

  it('fails on demand, and for want of a credential', async () => {
    const failures = [{ status: 529, headers: { 'retry-after': '3' } }, { cutAfterEvents: 0 }];
    const options = { credential: 'key', failure: () => failures.shift() };
    const overloaded = await ask(options);
    expect(overloaded.status).toBe(529);
    expect(overloaded.headers.get('retry-after')).toBe('3');
    expect(await overloaded.json()).toMatchObject({ type: 'error', error: { type: 'overloaded_error' } });
    await expect(ask(options)).rejects.toThrow();
    expect((await ask(options)).status).toBe(401);
    failures.push({ cutAfterEvents: 2 });
    const headers = { authorization: 'Bearer key' };
    const cut = await fetch(`${upstream?.url}/v1/messages`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ ...HELLO, stream: true }),
    });
    await expect(cut.text()).rejects.toThrow();
  });
});
