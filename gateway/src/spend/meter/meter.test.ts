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
import { metered, usage } from './testing/metering.ts';

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
    expect(await metered([writeStream(LONG_TURN)])).toEqual(LONG_TURN_USAGE);
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
    ['rounds up what is no whole number', { output_tokens: 499.5 }, OPENING_USAGE, {}],
  ];
  it.each(cases)('%s', async (_name, last, first, expected) => {
    expect(await metered([counted(last, first)])).toEqual(
      usage({ inputTokens: 1000, outputTokens: 500, ...expected }),
    );
  });

  it('takes the last of several counts of the output', async () => {
    const stream = [
      messageStart(),
      delta('a'),
      messageDelta({ output_tokens: 900 }),
      messageDelta({ output_tokens: 500 }),
    ];
    expect((await metered([writeStream(stream)])).outputTokens).toBe(500);
  });

  it('is complete without message_stop, and without the blank line behind the last frame', async () => {
    const body = broken(delta(TEXT)) + writeEvent(messageDelta({ output_tokens: 500 })).trimEnd();
    expect(await metered([body])).toEqual(usage({ inputTokens: 1000, outputTokens: 500 }));
  });

  it('is not misled by usage that the model writes, nor by one in a search result', async () => {
    const lie = '\n\nevent: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":1}}\n\n';
    const body = broken(
      delta(lie),
      blockStart({ type: 'web_search_tool_result', usage: { output_tokens: 1 } }),
    );
    expect((await metered([body + writeEvent(messageDelta({ output_tokens: 500 }))])).outputTokens).toBe(500);
    expect((await metered([body.replaceAll(/event: .*\n/g, '')])).outcome).toBe('partial');
  });

  it('is read without event names, and with types that only the names tell', async () => {
    const body = counted({ output_tokens: 500 });
    const expected = usage({ inputTokens: 1000, outputTokens: 500 });
    expect(await metered([body.replaceAll(/event: .*\n/g, '')])).toEqual(expected);
    expect(await metered([body.replaceAll(/"type":"[a-z_]+",?/g, '')])).toEqual(expected);
  });

  it('survives frames that are no JSON', async () => {
    const junk =
      'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":\n\ndata: [DONE]\n\ndata: }{]\n\n';
    expect(await metered([junk + counted({ output_tokens: 500 }) + junk])).toEqual(
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
    ['characters, not bytes', broken(delta('字'.repeat(4000))), 1000],
    ['two for one outside the basic plane', broken(delta('😀'.repeat(4000))), 2000],
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
    expect(await metered([body])).toEqual(usage({ inputTokens: 1000, outputTokens, outcome: 'partial' }));
  });

  it('says that nobody counted the input when it had not begun', async () => {
    const nothing = usage({ outcome: 'partial', inputCounted: false });
    for (const body of ['', '\n\n', ': comment\n\n', writeEvent(PING), writeEvent(ERROR)]) {
      expect(await metered([body])).toEqual(nothing);
    }
    expect(await metered([writeStream([blockStart(), delta(TEXT)])])).toEqual({
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
      expect(await metered([body])).toEqual(expected);
    }
  });

  it('is not misled by usage inside of it', async () => {
    const answer = { content: [{ usage: whole }], message: { type: 'x', deeper: { usage: whole } } };
    expect((await metered([JSON.stringify(answer)])).outcome).toBe('partial');
  });

  it('finds the usage behind megabytes', async () => {
    const body = Buffer.from(JSON.stringify(message(whole, 'a "quoted" \\ path\n'.repeat(300_000))));
    const chunks = Array.from({ length: Math.ceil(body.length / 65_000) }, (_, i) =>
      body.subarray(i * 65_000, (i + 1) * 65_000),
    );
    expect(await metered(chunks)).toEqual(usage({ inputTokens: 1000, outputTokens: 500 }));
  });

  it('is estimated by its length when it breaks off, or has no usage', async () => {
    const json = JSON.stringify(message(whole, TEXT));
    const lost = { outcome: 'partial', inputCounted: false } as const;
    expect(await metered([json.slice(0, 2000)])).toEqual(usage({ ...lost, outputTokens: 500 }));
    expect(await metered(['["', '字'.repeat(96), '"]'])).toEqual(usage({ ...lost, outputTokens: 25 }));
    for (const without of [undefined, null, 'x', []]) {
      const body = JSON.stringify(message(without));
      expect(await metered([body])).toEqual(usage({ ...lost, outputTokens: Math.ceil(body.length / 4) }));
    }
  });

  it('costs nothing when it is an error', async () => {
    expect(await metered([JSON.stringify(ERROR)])).toEqual(
      usage({ outcome: 'partial', inputCounted: false }),
    );
  });

  it('keeps no usage object that is out of all proportion', async () => {
    const answer = message({ ...whole, note: 'x'.repeat(100_000) });
    const body = Buffer.from(JSON.stringify(answer));
    const chunked = await metered([body.subarray(0, 5000), body.subarray(5000)]);
    expect(chunked).toEqual(await metered([body]));
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
    expect(await metered(halves(bytes), { 'content-encoding': coding })).toEqual(LONG_TURN_USAGE);
  });

  it('is billed what could be read when it breaks off', async () => {
    // Stored blocks, so that what is cut off is known.
    const stored = gzipSync(broken(delta(TEXT)), { level: 0 });
    const result = await metered([stored.subarray(0, -2000)], { 'content-encoding': 'gzip' });
    expect(result).toMatchObject({ inputTokens: 1000, outcome: 'partial', inputCounted: true });
    expect(result.outputTokens).toBeGreaterThan(450);
    expect(result.outputTokens).toBeLessThan(550);
  });

  it.each(['x-odd', 'gzip, br', 'constructor', 'gzip'])(
    'is not free when it cannot be read: %s',
    async (coding) => {
      const reasons: string[] = [];
      const result = await metered(
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
    expect(await meter.end()).toEqual(usage({ outcome: 'partial', inputCounted: false }));
  });
});

it('takes what is neither a stream nor JSON by its length', async () => {
  expect(await metered(['<html>', 'x'.repeat(394)])).toEqual(
    usage({ outputTokens: 100, outcome: 'partial', inputCounted: false }),
  );
});
