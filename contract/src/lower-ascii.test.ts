import { expect, it } from '@jest/globals';
import { lowerAscii } from './lower-ascii.ts';

it.each([
  ['Ada.K@Corp.Example', 'ada.k@corp.example'],
  ['\u212Aim@corp.example', '\u212Aim@corp.example'],
  ['İ@ÄRGER.example', 'İ@Ärger.example'],
  ['', ''],
])('lowers the ASCII letters of %j alone', (text, lower) => {
  expect(lowerAscii(text)).toBe(lower);
});
