import { expect, it } from '@jest/globals';
import { spliced } from './splice.ts';
import { scanBody } from './upstream/body-scanner.ts';

it('splicing changes nothing but the value', () => {
  const body = Buffer.from('{ "a":"ü", "model" : "short" , "z": [1, 2] }');
  const scan = scanBody(body);
  if (typeof scan === 'string' || scan.fields.model === undefined) throw new Error('model not found');
  expect(spliced(body, [{ span: scan.fields.model, text: '"a much longer name"' }]).toString()).toBe(
    '{ "a":"ü", "model" : "a much longer name" , "z": [1, 2] }',
  );
});
