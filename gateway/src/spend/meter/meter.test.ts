import { describe, expect, it } from '@jest/globals';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { createMeter } from './meter.ts';
import {
  BLOCK_STOP,
  blockStart,
  delta,
  LONG_TURN,
  message,
  MESSAGE_STOP,
  messageDelta,
  messageStart,
  OPENING_USAGE,
  PING,
  writeEvent,
  writeStream,
  type StreamEvent,
} from './testing/answers.ts';
import { basics, metered, usage } from './testing/metering.ts';

const TEXT = 'abcd'.repeat(1000);
const ERROR: StreamEvent = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };

/** A stream up to, and without, its last count. */
function broken(...pieces: StreamEvent[]): string {
  return writeStream([messageStart(), blockStart(), ...pieces]);
}

/** A stream with this usage in its last frame, and in its first. */
function counted(last: unknown, first: unknown = OPENING_USAGE): string {
  return writeStream([
    messageStart(first),
    blockStart(),
    delta(TEXT),
    BLOCK_STOP,
    messageDelta(last),
    MESSAGE_STOP,
  ]);
}

const LONG_TURN_USAGE = usage({
  inputTokens: 12,
  outputTokens: 503,
  cacheReadTokens: 48_211,
  cacheWrite5mTokens: 1000,
  cacheWrite1hTokens: 1051,
  webSearches: 1,
});

describe('a stream that is complete', () => {
  it('is billed what the upstream counted', async () => {
    expect(await basics([writeStream(LONG_TURN)])).toEqual(LONG_TURN_USAGE);
  });

  const cases: [string, unknown, unknown, Parameters<typeof usage>[0]][] = [
    ['takes input from the first frame', { output_tokens: 500 }, OPENING_USAGE, {}],
    [
      'takes a later, larger input',
      { input_tokens: 2000, output_tokens: 500 },
      OPENING_USAGE,
      { inputTokens: 2000 },
    ],
    ['keeps what a null does not replace', { input_tokens: null, output_tokens: 500 }, OPENING_USAGE, {}],
    ['keeps what a zero does not replace', { input_tokens: 0, output_tokens: 500 }, OPENING_USAGE, {}],
    ['takes everything from the last frame', { input_tokens: 1000, output_tokens: 500 }, null, {}],
    [
      'says when no frame counts the input',
      { output_tokens: 500 },
      null,
      { inputTokens: 0, inputCounted: false },
    ],
    [
      'says so when all that it counts of the input is a zero',
      { input_tokens: 0, output_tokens: 500 },
      { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 },
      { inputTokens: 0, inputCounted: false },
    ],
    [
      'takes cache writes without a breakdown for the short ones',
      { output_tokens: 500 },
      { input_tokens: 1000, cache_creation_input_tokens: 100 },
      { cacheWrite5mTokens: 100 },
    ],
    [
      'takes a breakdown that stands alone',
      { output_tokens: 500 },
      {
        input_tokens: 1000,
        cache_creation: { ephemeral_5m_input_tokens: 60, ephemeral_1h_input_tokens: 40 },
      },
      { cacheWrite5mTokens: 60, cacheWrite1hTokens: 40 },
    ],
    [
      'does not count a breakdown and its sum twice',
      { output_tokens: 500, cache_creation_input_tokens: 100 },
      {
        input_tokens: 1000,
        cache_creation_input_tokens: 100,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 100 },
      },
      { cacheWrite1hTokens: 100 },
    ],
    [
      'takes what the breakdown leaves out for the short ones',
      { output_tokens: 500 },
      {
        input_tokens: 1000,
        cache_creation_input_tokens: 100,
        cache_creation: { ephemeral_5m_input_tokens: 30, ephemeral_1h_input_tokens: 40 },
      },
      { cacheWrite5mTokens: 60, cacheWrite1hTokens: 40 },
    ],
    [
      'does not add searches',
      { output_tokens: 500, server_tool_use: { web_search_requests: 3 } },
      { ...OPENING_USAGE, server_tool_use: { web_search_requests: 2 } },
      { webSearches: 3 },
    ],
    [
      'knows fast mode from the first frame',
      { output_tokens: 500 },
      { ...OPENING_USAGE, speed: 'fast' },
      { fastMode: true },
    ],
    [
      'knows fast mode from the last frame',
      { output_tokens: 500, speed: 'fast' },
      OPENING_USAGE,
      { fastMode: true },
    ],
    [
      'adds what was sampled to compact the conversation, which only the iterations tell',
      {
        input_tokens: 23_000,
        output_tokens: 500,
        iterations: [
          { type: 'compaction', input_tokens: 180_000, output_tokens: 3500, cache_read_input_tokens: 7 },
          { type: 'message', input_tokens: 23_000, output_tokens: 500 },
        ],
      },
      { input_tokens: 23_000, output_tokens: 1 },
      { inputTokens: 203_000, outputTokens: 4000, cacheReadTokens: 7 },
    ],
    [
      'does not add iterations that the count includes',
      {
        output_tokens: 500,
        iterations: [
          { type: 'message', input_tokens: 400, output_tokens: 300 },
          { type: 'message', input_tokens: 600, output_tokens: 200 },
        ],
      },
      OPENING_USAGE,
      {},
    ],
    [
      'takes no text, no negative and no list for a count',
      {
        input_tokens: '7',
        output_tokens: 500,
        cache_read_input_tokens: -5,
        cache_creation: [3],
        iterations: {},
      },
      OPENING_USAGE,
      {},
    ],
    [
      'takes no part of a token for a count',
      { output_tokens: 499.5 },
      OPENING_USAGE,
      { outputTokens: 1000, outcome: 'partial' },
    ],
    [
      'keeps a count that no answer has, as the largest there is',
      {
        output_tokens: 1e300,
        cache_read_input_tokens: 2 ** 63,
        server_tool_use: { web_search_requests: 1e18 },
      },
      OPENING_USAGE,
      { outputTokens: 1e9, cacheReadTokens: 1e9, webSearches: 1e6 },
    ],
  ];
  it.each(cases)('%s', async (_name, last, first, expected) => {
    expect(await basics([counted(last, first)])).toEqual(
      usage({ inputTokens: 1000, outputTokens: 500, ...expected }),
    );
  });

  it('takes the largest of several counts of the output', async () => {
    const stream = [
      messageStart(),
      delta('a'),
      messageDelta({ output_tokens: 900 }),
      messageDelta({ output_tokens: 500 }),
    ];
    expect(await basics([writeStream(stream)])).toEqual(usage({ inputTokens: 1000, outputTokens: 900 }));
  });

  it('is complete without message_stop, and without the blank line behind the last frame', async () => {
    const body = broken(delta(TEXT)) + writeEvent(messageDelta({ output_tokens: 500 })).trimEnd();
    expect(await basics([body])).toEqual(usage({ inputTokens: 1000, outputTokens: 500 }));
  });

  it('is not misled by usage that the model writes, nor by one in a search result', async () => {
    const lie = '\n\nevent: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":1}}\n\n';
    const body = broken(
      delta(lie),
      blockStart({ type: 'web_search_tool_result', usage: { output_tokens: 1 } }),
    );
    expect((await basics([body + writeEvent(messageDelta({ output_tokens: 500 }))])).outputTokens).toBe(500);
    expect((await basics([body.replaceAll(/event: .*\n/g, '')])).outcome).toBe('partial');
  });

  it('is read without event names, and with types that only the names tell', async () => {
    const body = counted({ output_tokens: 500 });
    const expected = usage({ inputTokens: 1000, outputTokens: 500 });
    expect(await basics([body.replaceAll(/event: .*\n/g, '')])).toEqual(expected);
    expect(await basics([body.replaceAll(/"type":"[a-z_]+",?/g, '')])).toEqual(expected);
  });

  it('survives frames that are no JSON', async () => {
    const junk =
      'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":\n\ndata: [DONE]\n\ndata: }{]\n\n';
    expect(await basics([junk + counted({ output_tokens: 500 }) + junk])).toEqual(
      usage({ inputTokens: 1000, outputTokens: 500 }),
    );
  });
});

describe('a stream that breaks off', () => {
  const estimates: [string, string, number][] = [
    ['one token for four characters', broken(delta(TEXT)), 1000],
    ['a part of a token is one', broken(delta('abcde')), 2],
    ['over all pieces, not for each', broken(...Array.from('abcde', (c) => delta(c))), 2],
    ['thinking', broken(delta(TEXT, 'thinking_delta', 'thinking')), 1000],
    ['signatures', broken(delta(TEXT, 'signature_delta', 'signature')), 1000],
    ['the input of tools', broken(delta(TEXT, 'input_json_delta', 'partial_json')), 1000],
    ['pieces of a kind yet unknown', broken(delta(TEXT, 'novel_delta', 'novel')), 1000],
    ['citations are free', broken({ type: 'content_block_delta', delta: { citation: { text: TEXT } } }), 1],
    ['blocks that are sent whole are free', broken(blockStart({ type: 'redacted_thinking', data: TEXT })), 1],
    ['a token for two bytes outside of ASCII', broken(delta('字'.repeat(4000))), 6000],
    ['all of them', broken(delta('😀'.repeat(4000))), 8000],
    ['escaped ones as they are written', broken(delta(TEXT)).replaceAll('abcd', '\\u5b57'), 1500],
    ['escapes count as they are written', broken(delta('\n'.repeat(4000))), 2000],
    [
      'padding does not count',
      writeStream([messageStart()]) + writeEvent(delta(TEXT)).replace('}}', `}${' '.repeat(90)}}`),
      1000,
    ],
    ['what had come of a piece', broken() + writeEvent(delta(TEXT)).slice(0, -2005), 500],
    ['pings are free', broken(PING, PING), 1],
    [
      'a count of the start that is larger',
      writeStream([messageStart({ ...OPENING_USAGE, output_tokens: 3000 }), delta(TEXT)]),
      3000,
    ],
    ['an error in mid-stream', broken(delta(TEXT), ERROR), 1000],
    ['an error at the start', writeStream([messageStart(), ERROR]), 1],
    ['a last frame without usage', broken(delta(TEXT), messageDelta(undefined), MESSAGE_STOP), 1000],
    ['a last frame with an empty one', broken(delta(TEXT), messageDelta({}), MESSAGE_STOP), 1000],
    ['a count of zero for what was sent', broken(delta(TEXT), messageDelta({ output_tokens: 0 })), 1000],
    ['what came after a count', broken(delta(TEXT), messageDelta({ output_tokens: 300 }), delta(TEXT)), 1300],
  ];
  it.each(estimates)('is billed an estimate: %s', async (_name, body, outputTokens) => {
    expect(await basics([body])).toEqual(usage({ inputTokens: 1000, outputTokens, outcome: 'partial' }));
  });

  it('says that nobody counted the input when it had not begun', async () => {
    const nothing = usage({ outcome: 'partial', inputCounted: false });
    for (const body of ['', '\n\n', ': comment\n\n', writeEvent(PING), writeEvent(ERROR)]) {
      expect(await basics([body])).toEqual(nothing);
    }
    expect(await basics([writeStream([blockStart(), delta(TEXT)])])).toEqual({
      ...nothing,
      outputTokens: 1000,
    });
  });
});

describe('an answer that is not streamed', () => {
  const whole = { ...OPENING_USAGE, output_tokens: 500 };

  it('is billed its usage, however it is written', async () => {
    const expected = usage({ inputTokens: 1000, outputTokens: 500 });
    const json = JSON.stringify(message(whole, TEXT));
    for (const body of [json, JSON.stringify(message(whole), null, 2), `\ufeff${json}`, `\r\n${json}\n`]) {
      expect(await basics([body])).toEqual(expected);
    }
  });

  it('is not misled by usage inside of it', async () => {
    const answer = { content: [{ usage: whole }], message: { type: 'x', deeper: { usage: whole } } };
    expect((await basics([JSON.stringify(answer)])).outcome).toBe('partial');
  });

  it('finds the usage behind megabytes', async () => {
    const body = Buffer.from(JSON.stringify(message(whole, 'a "quoted" \\ path\n'.repeat(300_000))));
    const chunks = Array.from({ length: Math.ceil(body.length / 65_000) }, (_, i) =>
      body.subarray(i * 65_000, (i + 1) * 65_000),
    );
    expect(await basics(chunks)).toEqual(usage({ inputTokens: 1000, outputTokens: 500 }));
  });

  it('is estimated by its length when it breaks off, or has no usage', async () => {
    const json = JSON.stringify(message(whole, TEXT));
    const lost = { outcome: 'partial', inputCounted: false } as const;
    expect(await basics([json.slice(0, 2000)])).toEqual(usage({ ...lost, outputTokens: 500 }));
    expect(await basics(['["', '字'.repeat(96), '"]'])).toEqual(usage({ ...lost, outputTokens: 145 }));
    for (const without of [undefined, null, 'x', [], {}, { output_tokens: '7', input_tokens: -1 }]) {
      const body = JSON.stringify(message(without));
      expect(await basics([body])).toEqual(usage({ ...lost, outputTokens: Math.ceil(body.length / 4) }));
    }
  });

  it('is estimated so where its output counts as nothing and it has content', async () => {
    const zero = { ...OPENING_USAGE, output_tokens: 0 };
    const body = JSON.stringify(message(zero, TEXT));
    const outputTokens = Math.ceil(body.length / 4);
    expect(await basics([body])).toEqual(usage({ outcome: 'partial', inputTokens: 1000, outputTokens }));
    const empty = JSON.stringify({ ...message(zero), content: [] });
    expect(await basics([empty])).toEqual(usage({ inputTokens: 1000, outputTokens: 0 }));
  });

  it('costs nothing when it is an error', async () => {
    expect(await basics([JSON.stringify(ERROR)])).toEqual(usage({ outcome: 'partial', inputCounted: false }));
  });

  it('keeps no usage object that is out of all proportion', async () => {
    const answer = message({ ...whole, note: 'x'.repeat(100_000) });
    const body = Buffer.from(JSON.stringify(answer));
    const chunked = await basics([body.subarray(0, 5000), body.subarray(5000)]);
    expect(chunked).toEqual(await basics([body]));
    expect(chunked.outcome).toBe('partial');
  });
});

describe('a compressed answer', () => {
  const body = Buffer.from(writeStream(LONG_TURN));
  const halves = (bytes: Buffer): Buffer[] => [bytes.subarray(0, 11), bytes.subarray(11)];
  const codings: [string, Buffer][] = [
    ['gzip', gzipSync(body)],
    ['X-GZip', gzipSync(body)],
    ['deflate', deflateSync(body)],
    ['deflate', deflateRawSync(body)],
    ['br', brotliCompressSync(body)],
    ['zstd', zstdCompressSync(body)],
    ['identity', body],
  ];
  it.each(codings)('is read: %s', async (coding, bytes) => {
    expect(await basics(halves(bytes), { 'content-encoding': coding })).toEqual(LONG_TURN_USAGE);
  });

  it('is billed what could be read when it breaks off', async () => {
    // Stored blocks, so that what is cut off is known.
    const stored = gzipSync(broken(delta(TEXT)), { level: 0 });
    const result = await basics([stored.subarray(0, -2000)], { 'content-encoding': 'gzip' });
    expect(result).toMatchObject({ inputTokens: 1000, outcome: 'partial', inputCounted: true });
    expect(result.outputTokens).toBeGreaterThan(450);
    expect(result.outputTokens).toBeLessThan(550);
  });

  it.each(['x-odd', 'gzip, br', 'constructor', 'gzip'])(
    'is not free when it cannot be read: %s',
    async (coding) => {
      const reasons: string[] = [];
      const result = await basics(
        [Buffer.alloc(1000, 'a'), Buffer.alloc(1000, 'b')],
        { 'content-encoding': coding },
        { onUnreadable: (reason) => reasons.push(reason) },
      );
      expect(result).toEqual(usage({ outputTokens: 500, outcome: 'partial', inputCounted: false }));
      expect(reasons).toEqual([expect.stringContaining(coding)]);
    },
  );

  it('is nothing when nothing came', async () => {
    const meter = createMeter({ 'content-encoding': 'gzip' }, {});
    expect(await meter.end()).toMatchObject({ outcome: 'partial', outputTokens: 0, answered: false });
  });
});

it('takes what is neither a stream nor JSON by its length', async () => {
  expect(await basics(['<html>', 'x'.repeat(394)])).toEqual(
    usage({ outputTokens: 100, outcome: 'partial', inputCounted: false }),
  );
});

describe('an answer of several models', () => {
  const iterations = [
    { type: 'message', input_tokens: 900, output_tokens: 100 },
    {
      type: 'advisor_message',
      model: 'claude-opus-4-8',
      input_tokens: 2000,
      output_tokens: 700,
      cache_creation_input_tokens: 30,
    },
    { type: 'message', model: '', input_tokens: 100, output_tokens: 400 },
  ];

  it('says what each of them used, and what the top level counts', async () => {
    const {
      iterations: told,
      topLevel,
      ...all
    } = await metered([counted({ output_tokens: 500, iterations })]);
    expect(all).toMatchObject({ inputTokens: 3000, outputTokens: 1200, cacheWrite5mTokens: 30 });
    expect(topLevel).toMatchObject({ inputTokens: 1000, outputTokens: 500 });
    expect(told.map(({ model, inputTokens, outputTokens }) => [model, inputTokens, outputTokens])).toEqual([
      [undefined, 900, 100],
      ['claude-opus-4-8', 2000, 700],
      [undefined, 100, 400],
    ]);
  });

  it('is not made smaller by a later frame that lists fewer', async () => {
    const body = counted({ output_tokens: 500, iterations }) + writeEvent(messageDelta({ iterations: [] }));
    expect((await metered([body])).iterations).toHaveLength(3);
  });
});

describe('the place of an answer', () => {
  it.each([
    ['us', true],
    ['somewhere_new', true],
    ['global', false],
    ['not_available', false],
    [undefined, undefined],
    [7, undefined],
  ])('%s', async (inference_geo, expected) => {
    const opening = { ...OPENING_USAGE, inference_geo };
    expect((await metered([counted({ output_tokens: 5 }, opening)])).usInference).toBe(expected);
  });
});

describe('what an answer may have beyond its last count', () => {
  const left = async (body: string) => (await metered([body])).uncounted;
  const thinking = blockStart({ type: 'thinking', thinking: '', signature: '' });

  it('is a token for each byte of its text, and the markup of its blocks', async () => {
    expect(await left(broken(delta('字'.repeat(100))))).toEqual({
      mostOutputTokens: 1 + 300 + 8,
      thinking: 'none',
      serverWork: false,
    });
    const tool = blockStart({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} });
    expect(await left(broken(tool, delta('{}', 'input_json_delta', 'partial_json')))).toMatchObject({
      mostOutputTokens: 1 + 2 + 208,
    });
  });

  it('is nothing behind the last count', async () => {
    expect(await left(counted({ output_tokens: 500 }))).toEqual({
      mostOutputTokens: 500,
      thinking: 'none',
      serverWork: false,
    });
  });

  it.each([
    ['not yet: nothing was sent', writeStream([messageStart()]), 'possible'],
    ['it has begun', writeStream([messageStart(), thinking]), 'begun'],
    ['it is over', writeStream([messageStart(), thinking, BLOCK_STOP, blockStart(), delta('a')]), 'begun'],
    [
      'redacted',
      writeStream([messageStart(), blockStart({ type: 'redacted_thinking', data: 'x' })]),
      'begun',
    ],
    ['there is text first', broken(delta('a')), 'none'],
    ['it has failed', writeStream([messageStart(), ERROR]), 'none'],
  ])('is thinking that does not show: %s', async (_name, body, expected) => {
    expect((await left(body)).thinking).toBe(expected);
    expect((await left(body.replaceAll(/event: .*\n/g, ''))).thinking).toBe(expected);
  });

  it.each(['server_tool_use', 'web_search_tool_result', 'mcp_tool_use', 'compaction', 'novel'])(
    'is what was read for %s',
    async (type) => {
      expect(await left(broken(blockStart({ type })))).toMatchObject({ serverWork: true });
    },
  );

  it('cannot be told where the answer cannot be read', async () => {
    const json = JSON.stringify(message({ ...OPENING_USAGE, output_tokens: 500 }, TEXT));
    for (const body of [json.slice(0, 2000), '<html>', JSON.stringify(message({}))]) {
      expect((await left(body)).mostOutputTokens).toBe(Infinity);
    }
    const cut = await metered([Buffer.alloc(9, 'a')], { 'content-encoding': 'gzip' });
    expect(cut.uncounted.mostOutputTokens).toBe(Infinity);
  });
});
