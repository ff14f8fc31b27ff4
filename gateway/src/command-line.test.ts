import { describe, expect, it } from '@jest/globals';
import { parseCommandLine, UsageError } from './command-line.ts';

describe('parseCommandLine', () => {
  it.each([
    [['--config', 'a.yaml'], { kind: 'serve', config: 'a.yaml' }],
    [['--config=a.yaml', '--check'], { kind: 'check', config: 'a.yaml' }],
    [['--print-schema'], { kind: 'print-schema' }],
    [['-h'], { kind: 'help' }],
    [['--version'], { kind: 'version' }],
    [['sessions', '--config', 'a.yaml'], { kind: 'sessions', config: 'a.yaml', user: undefined }],
    [
      ['revoke', '--config', 'a.yaml', '--user', 'alice@corp.example'],
      { kind: 'revoke', config: 'a.yaml', target: { user: 'alice@corp.example' } },
    ],
  ])('%j', (args, expected) => {
    expect(parseCommandLine(args)).toEqual(expected);
  });

  it.each([
    [[], '--config names no file'],
    [['--config'], 'argument missing'],
    [['--confg', 'a.yaml'], '--confg'],
    [['--confg', 'a.yaml'], 'unknown option --confg; did you mean --config?'],
    [['--frobnicate'], 'unknown option --frobnicate'],
    [['revok', '--user', 'a'], 'unknown command "revok"; did you mean revoke?'],
    [['session', '--config', 'a.yaml'], 'did you mean sessions?'],
    [['serv', '--config', 'a.yaml'], 'unknown command "serv"'],
    [['sessions', 'now', '--config', 'a.yaml'], 'unexpected argument "now"'],
    [['revoke', '--config', 'a.yaml'], 'exactly one of'],
    [['revoke', '--config', 'a.yaml', '--user', 'a', '--sub', 'b'], 'exactly one of'],
    [['revoke', '--config', 'a.yaml', '--user', ''], 'exactly one of'],
  ])('%j is refused', (args, message) => {
    expect(() => parseCommandLine(args)).toThrow(UsageError);
    expect(() => parseCommandLine(args)).toThrow(message);
  });
});
