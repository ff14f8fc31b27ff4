import { describe, expect, it } from '@jest/globals';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { selfSigned } from '../testing/rsa-certificate.ts';
import { clientAssertionSchema } from './client-assertion.ts';

const rsa = (modulusLength: number): KeyObject => generateKeyPairSync('rsa', { modulusLength }).privateKey;
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

const key = rsa(2048);
const certificate = selfSigned(key);

function problem(private_key_pem: string, certificate_pem: string): string | undefined {
  const { error } = clientAssertionSchema.safeParse({ private_key_pem, certificate_pem });
  return error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('\n');
}

describe('client_assertion', () => {
  it('takes a key of either encoding and its certificate', () => {
    expect(problem(pem(key), certificate)).toBeUndefined();
    expect(problem(key.export({ type: 'pkcs1', format: 'pem' }).toString(), certificate)).toBeUndefined();
  });

  it.each([
    [
      'an encrypted key',
      key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
    ],
    ['a short key', pem(rsa(1024))],
    ['another kind of key', pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
    ['no key', 'text'],
  ])('refuses %s', (_, text) => {
    expect(problem(text, certificate)).toMatch(/^private_key_pem (is|must)/);
  });

  it.each([
    ['the certificate of another key', selfSigned(rsa(2048))],
    ['a chain', certificate + certificate],
    ['no certificate', 'text'],
  ])('refuses %s', (_, text) => {
    expect(problem(pem(key), text)).toMatch(/^certificate_pem (is|must)/);
  });
});
