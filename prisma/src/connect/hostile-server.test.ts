import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { openStore } from '../store.ts';
import { AnswerBudget } from './answer-budget.ts';
import type { Resolve } from './checked-lookup.ts';

const MIB = 1024 * 1024;
const MAX_BYTES = 4 * MIB;

/** A message as PostgreSQL frames it. */
function message(type: string, ...body: (string | Buffer)[]): Buffer {
  const content = Buffer.concat(body.map((part) => Buffer.from(part as string, 'latin1')));
  const header = Buffer.from(`${type}....`, 'latin1');
  header.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([header, content]);
}

const int16 = (...values: number[]): Buffer => Buffer.concat(values.map((value) => writeInt(value, 2)));
const int32 = (...values: number[]): Buffer => Buffer.concat(values.map((value) => writeInt(value, 4)));
function writeInt(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeIntBE(value, 0, bytes);
  return buffer;
}

const ok = message('R', int32(0));
const ready = message('Z', 'I');
const columns = (...names: string[]): Buffer =>
  message(
    'T',
    int16(names.length),
    ...names.map((name) => Buffer.concat([Buffer.from(`${name}\0`), int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)])), // prettier-ignore
  );
const row = (...fields: string[]): Buffer =>
  message('D', int16(fields.length), ...fields.flatMap((field) => [int32(field.length), field]));
/** The same bytes, read again and again by a parser that believes in negative lengths. */
const looped = message(
  'D',
  int16(2 ** 15 - 1),
  ...[int32(500_000), 'x'.repeat(500_000), int32(-500_008)].flat(),
);

type Conduct = (socket: Socket, question: Buffer) => void;

/** As often as the other end takes it, until that ends. */
function pour(socket: Socket, bytes: Buffer): void {
  const chunk = Buffer.concat(Array.from({ length: Math.ceil((256 * 1024) / bytes.length) }, () => bytes));
  const go = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', go);
  go();
}

/** Begins as PostgreSQL does, and then answers as it likes. */
const afterStart =
  (conduct: Conduct): Conduct =>
  (socket, question) =>
    question.subarray(4, 8).equals(Buffer.from([0, 3, 0, 0]))
      ? socket.write(Buffer.concat([ok, ready]))
      : conduct(socket, question);

const always =
  (...answer: Buffer[]): Conduct =>
  (socket) =>
    void socket.write(Buffer.concat(answer));

describe('a server that is none', () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await Promise.all(servers.splice(0).map((server) => new Promise((done) => server.close(done))));
  });

  async function listen(conduct: Conduct): Promise<string> {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
      socket.on('data', (question) => conduct(socket, question));
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return `postgres://me:secret@127.0.0.1:${(server.address() as AddressInfo).port}/db`;
  }

  async function failureOf(url: string, more: { resolve?: Resolve } = {}): Promise<string> {
    const answers = new AnswerBudget(MAX_BYTES);
    const opening = openStore({
      ...{ url, answers, role: 'operator', maxConnections: 3, connectTimeoutSeconds: 0.5 },
      ...{ revocationTtlSeconds: 0, ...more },
    });
    const failure: unknown = await opening.then(
      () => new Error('it was taken for PostgreSQL'),
      (error: unknown) => error,
    );
    return (failure as Error).message;
  }

  it.each<[string, Conduct, RegExp]>([
    ['rows without end', (socket) => pour(socket, Buffer.concat([columns('a'), row('x'.repeat(1000))])), /more than there is room for/], // prettier-ignore
    ['rows without anything in them', (socket) => pour(socket, row()), /more than there is room for/],
    ['a message without end', (socket) => { socket.write(message('D').fill(0x7f, 1)); pour(socket, Buffer.alloc(1000, 'x')); }, /protocol|room/], // prettier-ignore
    ['a name without end', (socket) => { socket.write(Buffer.from([0x54, 0x7f, 0, 0, 0])); pour(socket, Buffer.alloc(1000, 'x')); }, /room for/], // prettier-ignore
    ['notices without end', (socket) => pour(socket, message('N', 'Mhello\0\0')), /room for/],
    ['settings without end', (socket) => pour(socket, message('S', 'a\0b\0')), /room for/],
    ['readiness without end', (socket) => pour(socket, ready), /room for|PostgreSQL 11 or later/],
    ['results without end', (socket) => pour(socket, Buffer.concat([columns('a'), message('C', 'SELECT 0\0')])), /room for/], // prettier-ignore
    ['an error that does not end', always(message('E', 'Mhello\0')), /an? (error|message) that/],
    ['an error that is only a byte', always(message('E', 'M')), /a message that ends too early/],
    ['an error that goes on', always(message('E', 'Ma\0\0Mb\0\0')), /goes on after its end/],
    ['an error that is nothing', always(message('E')), /ends too early/],
    ['an error of many words', always(message('E', `M${'x'.repeat(100_000)}\0\0`)), /more than 16 KiB/],
    ['fields of negative lengths', always(columns('a', 'b'), looped), /impossible lengths/],
    ['less than no fields', always(columns('a'), message('D', int16(-1))), /protocol|Invalid array length/],
    ['no length', always(Buffer.from([0x44, 0, 0, 0, 0])), /without a length/],
    ['a type of its own', always(message('!', 'x')), /received invalid response/],
    ['a way to sign in of its own', always(message('R', int32(99))), /Unknown authenticationOk/],
    ['a list that has no entries', always(message('t', int16(1000))), /out of range|outside/],
    ['half an answer', always(columns('a').subarray(0, 9)), /no answer in time|timeout/],
    ['a version of its own', always(columns('version'), row('1'), message('C', 'SELECT 1\0'), ready), /PostgreSQL 11 or later/], // prettier-ignore
  ])('that answers with %s is named in an error', async (_, conduct, reason) => {
    expect(await failureOf(await listen(afterStart(conduct)))).toMatch(reason);
  });

  it.each<[string, Conduct]>([
    ['silence', () => undefined],
    ['nonsense', (socket) => pour(socket, Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))],
    ['notices without end', (socket) => pour(socket, message('N', 'Mhello\0\0'))],
    ['a slow notice', (socket) => setInterval(() => socket.write('N'), 100).unref()],
    ['an error', always(message('E', 'C28P01\0Mno\0\0'))],
    ['a question for MD5 of nothing', always(message('R', int32(5), 'salt'))],
    ['SASL without mechanisms', always(message('R', int32(10), '\0'))],
    ['the end of SASL that never began', always(message('R', int32(12), 'v=x'))],
    ['the middle of SASL that never began', always(message('R', int32(11), 'r=x,s=x,i=2147483647'))],
    [
      'SASL of two milliards of rounds',
      (socket, question) => {
        if (question[0] !== 0x70) return void socket.write(message('R', int32(10), 'SCRAM-SHA-256\0\0'));
        const nonce = /r=(.*)/.exec(question.toString('latin1'))?.[1] ?? '';
        socket.write(message('R', int32(11), `r=${nonce}x,s=c2FsdA==,i=2147483647`));
      },
    ],
  ])('that begins with %s is given up, and its connection closed', async (_, conduct) => {
    const url = await listen(conduct);
    expect(await failureOf(url)).toMatch(/^cannot use PostgreSQL at 127\.0\.0\.1:\d+\/db: /);
    expect(await failureOf(url.replace('me:secret', 'me'))).not.toMatch(/taken for PostgreSQL/);
    await expect(emptied(sockets)).resolves.toBe(true);
  });

  it('has no say in how long it is waited for', async () => {
    const url = await listen(afterStart(() => undefined));
    expect(await failureOf(`${url}?query_timeout=2000000000`)).toMatch(
      /no answer in time|Query read timeout/,
    );
  });

  it('does not cut off the small answers of others', () => {
    const cut: string[] = [];
    const budget = new AnswerBudget(100);
    const [small, large] = ['small', 'large'].map((name) => ({ cutOff: () => void cut.push(name) }));
    budget.take(small!, 10);
    budget.take(large!, 85);
    budget.take(small!, 10);
    expect(cut).toEqual(['large']);
    budget.take(small!, 80);
    expect(() => budget.take(small!, 1)).toThrow(/room/);
    budget.take(large!, 100);
    expect(cut).toEqual(['large']);
  });

  describe('by its address', () => {
    const resolves =
      (...addresses: string[]): Resolve =>
      (_, callback) =>
        callback(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        );

    it.each(['169.254.169.254', '[64:ff9b::a9fe:a9fe]', '[::ffff:169.254.169.254]', '224.0.0.1', '0.0.0.0'])(
      '%s is not connected to',
      async (host) => {
        expect(await failureOf(`postgres://me@${host}:1/db`)).toMatch(/blocked destination: /);
      },
    );

    it.each([[['169.254.169.254']], [['127.0.0.1', '64:ff9b::a9fe:a9fe']], [['fd00:ec2::254', '127.0.0.1']]])(
      'a name that resolves to %s is not connected to, and not tried again',
      async (addresses) => {
        const resolve = resolves(...addresses);
        const url = (await listen(() => undefined)).replace('127.0.0.1', 'db.example');
        expect(await failureOf(url, { resolve })).toMatch(/blocked destination: db\.example resolves to /);
        expect(sockets.size).toBe(0);
      },
    );

    it('a name may be of this machine or network', async () => {
      const url = (await listen(always(message('E', 'C28P01\0Mwrong password\0\0')))).replace('127.0.0.1', 'db.example'); // prettier-ignore
      expect(await failureOf(url, { resolve: resolves('127.0.0.1') })).toMatch(/wrong password/);
    });
  });
});

/** Whether a set becomes empty, in a time that is generous. */
async function emptied(set: ReadonlySet<unknown>): Promise<boolean> {
  const end = performance.now() + 20_000;
  while (set.size > 0 && performance.now() < end) await new Promise((go) => setTimeout(go, 20));
  return set.size === 0;
}
