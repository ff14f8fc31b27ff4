/**
 * The upstream of a measurement: answers at once, for as little CPU as Node.js allows. Prints its port.
 * `x-stainless-events: n` asks for a stream of n text deltas, each written by itself.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { MessageReader } from './http-framing.ts';

const USAGE = { input_tokens: 10, output_tokens: 5 };
const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-opus-4-8',
  content: [{ type: 'text', text: 'hello' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: USAGE,
};
const COMMON = 'HTTP/1.1 200 OK\r\nrequest-id: req_upstream\r\nanthropic-ratelimit-requests-limit: 50\r\n';

const body = JSON.stringify(MESSAGE);
const whole = Buffer.from(
  `${COMMON}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
);
const streamHead = Buffer.from(
  `${COMMON}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n`,
);
const start = chunkOf(
  eventOf({ type: 'message_start', message: { ...MESSAGE, content: [], stop_reason: null } }) +
    eventOf({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
);
const delta = chunkOf(
  eventOf({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'text_delta', text: ' a few words of text' },
  }),
);
const end = Buffer.concat([
  chunkOf(
    eventOf({ type: 'content_block_stop', index: 0 }) +
      eventOf({
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: USAGE,
      }) +
      eventOf({ type: 'message_stop' }),
  ),
  Buffer.from('0\r\n\r\n'),
]);

function eventOf(event: { type: string; [field: string]: unknown }): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

function chunkOf(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}

function stream(socket: Socket, deltas: number): void {
  socket.write(Buffer.concat([streamHead, start]));
  let left = deltas;
  const next = (): void => {
    if (socket.destroyed) return;
    if (left-- === 0) {
      socket.write(end);
      return;
    }
    socket.write(delta);
    setImmediate(next);
  };
  setImmediate(next);
}

const server = createServer({ noDelay: true }, (socket) => {
  let deltas: number | undefined;
  const reader = new MessageReader({
    head: (head) => {
      const events = /\r\nx-stainless-events: *(\d+)/i.exec(head)?.[1];
      deltas = events === undefined ? undefined : Number(events);
    },
    end: () => {
      if (deltas === undefined) socket.write(whole);
      else stream(socket, deltas);
    },
  });
  socket.on('data', (chunk: Buffer) => reader.push(chunk));
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
