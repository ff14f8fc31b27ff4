import { expect, it } from '@jest/globals';
import type { MeteredUsage } from '../types.ts';
import { Tally } from './tally.ts';
import {
  BLOCK_STOP,
  blockStart,
  delta,
  LONG_TURN,
  message,
  MESSAGE_STOP,
  messageDelta,
  messageStart,
  PING,
  writeEvent,
  writeStream,
  type StreamEvent,
  type Style,
} from './testing/answers.ts';
import { metered } from './testing/metering.ts';
import { pick, randomChunks } from './testing/random.ts';
import { seededRandom } from '../../testing/random.ts';

const SEED = 20_261_123;
const ROUNDS = 400;
const ALPHABET = [
  'a',
  'Z',
  ' ',
  '"',
  '\\',
  '\n',
  '\t',
  '{',
  '}',
  ',',
  'é',
  '字',
  '😀',
  '\u0007',
  '\u2028',
] as const;

/** The same by other means: every event is parsed as a whole. */
function parsedWhole(events: readonly StreamEvent[]): MeteredUsage {
  const tally = new Tally();
  for (const event of events) {
    if (event.type === 'message_start') tally.opening((event['message'] as { usage: unknown }).usage);
    if (event.type === 'message_delta') tally.count(event['usage']);
    if (event.type === 'content_block_start') tally.block((event['content_block'] as { type: string }).type);
    if (event.type === 'error') tally.failed();
    if (event.type !== 'content_block_delta') continue;
    for (const [name, value] of Object.entries(event['delta'] as object)) {
      if (name !== 'type' && typeof value === 'string') {
        const written = JSON.stringify(value);
        const bytes = Buffer.byteLength(written) - 2;
        tally.sent(bytes, bytes - written.replaceAll(/[^\0-\x7f]/gu, '').length + 2);
      }
    }
  }
  return tally.result();
}

function randomText(random: () => number): string {
  return Array.from({ length: Math.floor(random() * 30) }, () => pick(random, ALPHABET)).join('');
}

function randomUsage(random: () => number): unknown {
  const count = (): unknown =>
    pick<unknown>(random, [undefined, null, 0, Math.floor(random() * 5000), -1, 'x']);
  const counts = (): object => ({
    input_tokens: count(),
    cache_creation_input_tokens: count(),
    cache_creation: pick<unknown>(random, [
      undefined,
      null,
      { ephemeral_5m_input_tokens: count(), ephemeral_1h_input_tokens: count() },
    ]),
    cache_read_input_tokens: count(),
    output_tokens: count(),
  });
  return pick<unknown>(random, [
    undefined,
    null,
    counts(),
    {
      ...counts(),
      server_tool_use: { web_search_requests: count() },
      [randomText(random)]: randomText(random),
    },
    {
      ...counts(),
      iterations: [
        { type: 'message', ...counts() },
        { type: 'compaction', ...counts() },
      ],
      speed: 'fast',
    },
  ]);
}

function randomEvent(random: () => number): StreamEvent {
  const text = randomText(random);
  return pick<StreamEvent>(random, [
    delta(text),
    delta(text, 'thinking_delta', 'thinking'),
    delta(text, 'input_json_delta', 'partial_json'),
    {
      type: 'content_block_delta',
      index: 12,
      delta: { type: 'novel_delta', a: text, nested: { b: text }, c: text },
    },
    blockStart({ type: 'text', text, usage: randomUsage(random) }),
    BLOCK_STOP,
    PING,
    { type: 'error', error: { type: 'overloaded_error', message: text } },
    {
      type: text,
      usage_: randomUsage(random),
      list: [[text], {}, [{ usage: 1 }], null, true, -1.5e3],
    },
    messageDelta(randomUsage(random)),
  ]);
}

function randomStyle(random: () => number): Style {
  return {
    lineEnd: pick(random, ['\n', '\r\n', '\r']),
    eventNames: random() < 0.7,
    space: pick(random, ['', ' ']),
    indent: pick(random, [0, 0, 0, 2]),
    padding: pick(random, [0, 0, 7]),
    reversed: random() < 0.2,
  };
}

it(`reads a stream alike however it is written and cut (seed ${SEED})`, async () => {
  const random = seededRandom(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const events = [
      messageStart(randomUsage(random)),
      ...Array.from({ length: Math.floor(random() * 25) }, () => randomEvent(random)),
      messageDelta(randomUsage(random)),
      MESSAGE_STOP,
    ].slice(random() < 0.2 ? 1 : 0, random() < 0.3 ? -2 : undefined);
    let text = random() < 0.2 ? '\ufeff' : '';
    for (const event of events) {
      if (random() < 0.1) text += `: ${randomText(random).replaceAll(/[\r\n]/g, '')}\nid: 7\n\n`;
      text += writeEvent(event, randomStyle(random));
    }
    const expected = parsedWhole(events);
    expect({ round, ...(await metered(randomChunks(random, Buffer.from(text)))) }).toEqual({
      round,
      ...expected,
    });
  }
});

it('reads a stream alike wherever it is cut in two', async () => {
  const body = Buffer.from(writeStream(LONG_TURN));
  const expected = parsedWhole(LONG_TURN);
  for (let at = 0; at <= body.length; at++) {
    expect({ at, ...(await metered([body.subarray(0, at), body.subarray(at)])) }).toEqual({
      at,
      ...expected,
    });
  }
});

it('bills a stream that breaks off alike, however what came was cut', async () => {
  const body = Buffer.from(writeStream(LONG_TURN));
  const random = seededRandom(SEED + 1);
  for (let length = 0; length < body.length; length += 3) {
    const arrived = body.subarray(0, length);
    const whole = { length, ...(await metered([arrived])) };
    expect({ length, ...(await metered(randomChunks(random, arrived))) }).toEqual(whole);
  }
});

it('bills more, never less, the more of a stream has come', async () => {
  const body = Buffer.from(writeStream(LONG_TURN.slice(0, -2)));
  let before = 0;
  for (let length = 0; length < body.length; length++) {
    const { outputTokens } = await metered([body.subarray(0, length)]);
    expect(outputTokens).toBeGreaterThanOrEqual(before);
    before = outputTokens;
  }
  expect(before).toBeGreaterThan(50);
});

it('reads an answer that is not streamed alike however it is cut', async () => {
  const random = seededRandom(SEED + 2);
  for (let round = 0; round < ROUNDS; round++) {
    const usage = randomUsage(random);
    const json = JSON.stringify(message(usage, randomText(random)), null, pick(random, [0, 1]));
    const body = Buffer.from(random() < 0.2 ? json.slice(0, Math.floor(random() * json.length)) : json);
    const whole = await metered([body]);
    expect({ round, ...(await metered(randomChunks(random, body))) }).toEqual({ round, ...whole });
    if (body.length < Buffer.byteLength(json) || typeof usage !== 'object' || usage === null) continue;
    const tally = new Tally();
    tally.count(usage);
    // Without a count of the output it is an estimate by the length of the whole; zero is none.
    if ((tally.output ?? 0) > 0) expect(whole).toEqual(tally.result());
  }
});

it('keeps its head over bytes of any kind', async () => {
  const random = seededRandom(SEED + 3);
  const body = Buffer.from(writeStream(LONG_TURN));
  for (let round = 0; round < ROUNDS; round++) {
    const damaged = Buffer.from(body);
    for (let i = 0; i < 20; i++) damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
    const whole = await metered([damaged]);
    expect(Object.values(whole).filter((value) => typeof value === 'number' && !(value >= 0))).toEqual([]);
  }
});
