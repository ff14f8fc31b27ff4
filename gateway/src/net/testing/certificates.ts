import { createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** PEM texts of a key and its certificate. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly cert: string;
}

export interface TestCa {
  /** The authority's own certificate. */
  readonly cert: string;
  /** A server certificate for these names and addresses. */
  issue(...subjects: string[]): KeyAndCertificate;
}

/** A private certificate authority that lives as long as the test (X.509 v3 per RFC 5280, ECDSA P-256). */
export function createTestCa(commonName = 'Test CA'): TestCa {
  const { privateKey } = newKey();
  const cert = certificate({
    subject: commonName,
    subjectKey: privateKey,
    issuer: commonName,
    issuerKey: privateKey,
  });
  return {
    cert,
    issue: (...subjects) => {
      const { privateKey: subjectKey } = newKey();
      const subject = subjects[0] ?? 'localhost';
      return {
        key: subjectKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        cert: certificate({
          subject,
          subjectKey,
          issuer: commonName,
          issuerKey: privateKey,
          alternatives: subjects,
        }),
      };
    },
  };
}

/** A key with a self-signed certificate, as one uploads for `private_key_jwt`. */
export function createSelfSigned(commonName: string): KeyAndCertificate {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: certificate({
      subject: commonName,
      subjectKey: privateKey,
      issuer: commonName,
      issuerKey: newKey().privateKey,
    }),
  };
}

const newKey = (): { privateKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: 'P-256' });

interface Certificate {
  subject: string;
  subjectKey: KeyObject;
  issuer: string;
  issuerKey: KeyObject;
  /** Subject alternative names; without them the certificate is an authority's. */
  alternatives?: readonly string[];
}

const SEQUENCE = 0x30;
const SET = 0x31;
const ECDSA_WITH_SHA256 = der(SEQUENCE, oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
const DAY_MS = 86_400_000;

function certificate({ subject, subjectKey, issuer, issuerKey, alternatives }: Certificate): string {
  const now = Date.now();
  const constraints = alternatives
    ? extension(oid(0x55, 0x1d, 0x11), der(SEQUENCE, ...alternatives.map(alternativeName)))
    : extension(oid(0x55, 0x1d, 0x13), der(SEQUENCE, der(0x01, Buffer.of(0xff))));
  const toSign = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    name(issuer),
    der(SEQUENCE, utcTime(now - DAY_MS), utcTime(now + DAY_MS)),
    name(subject),
    createPublicKey(subjectKey).export({ type: 'spki', format: 'der' }),
    der(0xa3, der(SEQUENCE, constraints)),
  );
  const signature = der(0x03, Buffer.of(0), sign('sha256', toSign, issuerKey));
  const base64 = der(SEQUENCE, toSign, ECDSA_WITH_SHA256, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.of(tag), derLength(content.length), content]);
}

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length);
  return length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
}

function oid(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

function name(commonName: string): Buffer {
  return der(SEQUENCE, der(SET, der(SEQUENCE, oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(commonName)))));
}

function utcTime(epochMs: number): Buffer {
  const digits = new Date(epochMs).toISOString().replace(/\D/g, '');
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

function extension(id: Buffer, value: Buffer): Buffer {
  return der(SEQUENCE, id, der(0x04, value));
}

function alternativeName(subject: string): Buffer {
  return isIP(subject) === 0
    ? der(0x82, Buffer.from(subject))
    : der(0x87, Buffer.from(ipaddr.parse(subject).toByteArray()));
}
