import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { ConsoleLog } from './console-log.ts';

function shown(...entries: object[]): string[] {
  const lines: string[] = [];
  const log = new ConsoleLog('gateway', 'green', (text) => lines.push(stripVTControlCharacters(text)));
  log.chunk(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  return lines;
}

describe('ConsoleLog', () => {
  it('says a request in one short line, with the time', () => {
    const request = {
      level: 'info',
      time: '2026-11-29T09:05:30.000Z',
      request_id: 'req_1',
      client_ip: '127.0.0.1',
    };
    const [line] = shown({
      ...request,
      method: 'GET',
      path: '/v1/models',
      status: 401,
      ms: 7,
      msg: 'request',
    });
    expect(line).toMatch(/^\d\d:\d\d:\d\d gateway {2}│ GET \/v1\/models {2}401 {2}7 ms\n$/);
  });

  it('says an answer once, and how it ended where it did not end well', () => {
    const answer = {
      request_id: 'req_1',
      sub: 'alice',
      path: '/v1/messages',
      model: 'claude-opus-4-8',
      upstream: 'anthropic',
      status: 200,
      ms: 812,
    };
    const lines = shown(
      { evt: 'inference', ...answer, email: 'alice@corp.example' },
      { level: 'info', ...answer, ending: 'complete', msg: 'inference' },
      { level: 'info', ...answer, ending: 'client_gone', msg: 'inference' },
    );
    expect(lines.map((line) => line.slice('09:05:30 gateway  │ '.length))).toEqual([
      'POST /v1/messages  200  claude-opus-4-8  anthropic  812 ms\n',
      'POST /v1/messages  200  claude-opus-4-8  anthropic  client_gone  812 ms\n',
    ]);
  });

  it('leaves out what is the same in every line of a gateway on this machine', () => {
    const [line] = shown({
      evt: 'auth.denied',
      request_id: 'req_1',
      client_ip: '127.0.0.1',
      reason: 'missing',
    });
    expect(line).toMatch(/│ audit {2}auth\.denied {2}reason=missing\n$/);
  });
});
