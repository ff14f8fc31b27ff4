import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { selfSigned } from '@claude-gateway/contract/testing';
import { CertificateExpiry } from './certificate-expiry.ts';
import { createLog } from './observe/log.ts';

const DAY_MS = 86_400_000;
const pem = selfSigned(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
const { validFromDate, validToDate } = new X509Certificate(pem);
const LIFE_MS = validToDate.getTime() - validFromDate.getTime();

/** What is logged of it, so long before it expires. */
function said(leftMs: number): Record<string, unknown>[] {
  const lines: string[] = [];
  const log = createLog('info', { write: (line: string) => void lines.push(line) });
  const expiry = new CertificateExpiry(log, () => validToDate.getTime() - leftMs);
  expiry.watch(pem, '/tls/tls.crt');
  expiry.close();
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('the certificate of the listener', () => {
  const soon = Math.min(30 * DAY_MS, LIFE_MS / 4);

  it('is nothing to speak of while it lasts', () => {
    expect(said(soon + 1000)).toEqual([]);
  });

  it('is warned of before it expires, with the day', () => {
    expect(said(soon - 1000)).toMatchObject([
      { level: 'warn', cert: '/tls/tls.crt', expires_at: validToDate.toISOString() },
    ]);
  });

  it('is an error when it has expired', () => {
    expect(said(-1)).toMatchObject([{ level: 'error', msg: expect.stringContaining('has expired') }]);
  });

  it('has to be one', () => {
    const expiry = new CertificateExpiry(createLog('silent'), Date.now);
    expect(() => expiry.watch('no certificate', '/x')).toThrow();
  });
});
