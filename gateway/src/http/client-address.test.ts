import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  AddressSet,
  clientNetwork,
  isClientAddressKnown,
  normaliseAddress,
  resolveClientAddress,
} from './client-address.ts';

const trusted = new AddressSet(['10.0.0.0/8', '2001:db8:1::/48', '192.168.1.1']);

describe('AddressSet', () => {
  it.each([
    ['10.1.2.3', true],
    ['::ffff:10.1.2.3', true],
    ['11.0.0.1', false],
    ['192.168.1.1', true],
    ['192.168.1.2', false],
    ['2001:db8:1:2::3', true],
    ['2001:db8:2::3', false],
    ['not an address', false],
    ['', false],
  ])('%s -> %s', (address, expected) => {
    expect(trusted.has(address)).toBe(expected);
  });

  it.each([
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['::ffff:a00:0/104', '::ffff:10.1.2.3', true],
    ['::ffff:10.0.0.0/104', '11.1.2.3', false],
    ['::ffff:10.0.0.7/128', '10.0.0.7', true],
    ['::ffff:10.0.0.7', '10.0.0.7', true],
    ['::ffff:0:0/96', '203.0.113.9', true],
    ['::ffff:0:0/96', '2001:db8::1', false],
  ])('%s, of IPv4-mapped addresses, has %s: %s', (entry, address, expected) => {
    expect(new AddressSet([entry]).has(address)).toBe(expected);
  });

  it('knows a client by its address, or by the /64 that one subscriber has', () => {
    expect(clientNetwork('203.0.113.9')).toBe('203.0.113.9');
    expect(clientNetwork('2001:db8::1')).toBe(clientNetwork('2001:db8:0:0:ffff::'));
    expect(clientNetwork('2001:db8::1')).not.toBe(clientNetwork('2001:db8:0:1::1'));
    expect(clientNetwork('nonsense:')).toBe('nonsense:');
  });

  it('names the entry that it cannot read', () => {
    expect(() => new AddressSet(['10.0.0.0/33'])).toThrow(
      '"10.0.0.0/33" is neither an IP address nor a CIDR range',
    );
  });
});

describe('resolveClientAddress', () => {
  it.each([
    ['an untrusted peer is the client, whatever it claims', '203.0.113.9', '10.0.0.1', '203.0.113.9'],
    ['a trusted proxy names its peer', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    [
      'claims left of the first untrusted hop are ignored',
      '10.0.0.1',
      '1.1.1.1, 203.0.113.9, 10.0.0.2',
      '203.0.113.9',
    ],
    ['all hops trusted: the outermost', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['a broken entry ends the search', '10.0.0.1', '203.0.113.9, unknown, 10.0.0.2', '10.0.0.2'],
    ['ports are cut off', '10.0.0.1', '203.0.113.9:4711', '203.0.113.9'],
    ['IPv6 with port', '10.0.0.1', '[2001:db8::7]:4711', '2001:db8::7'],
    ['no header', '10.0.0.1', undefined, '10.0.0.1'],
    ['mapped peer', '::ffff:10.0.0.1', '203.0.113.9', '203.0.113.9'],
  ])('%s', (_name, peer, header, expected) => {
    expect(resolveClientAddress(peer, header, trusted)).toBe(expected);
  });

  it('believes nobody when no proxy is trusted', () => {
    expect(resolveClientAddress('10.0.0.1', '203.0.113.9', new AddressSet([]))).toBe('10.0.0.1');
  });
});

it('normaliseAddress gives one spelling', () => {
  expect(normaliseAddress('::ffff:1.2.3.4')).toBe('1.2.3.4');
  expect(normaliseAddress('fe80::1%eth0')).toBe('fe80::1');
  expect(normaliseAddress('2001:DB8:0:0:0:0:0:1')).toBe('2001:db8::1');
});

describe('isClientAddressKnown', () => {
  const from = (peer: string, headers: Record<string, string> = {}): IncomingMessage =>
    ({ socket: { remoteAddress: peer }, headers }) as unknown as IncomingMessage;
  const none = new AddressSet([]);

  it.each<[string, IncomingMessage, AddressSet, boolean]>([
    ['a trusted proxy names it', from('10.0.0.1', { 'x-forwarded-for': '203.0.113.7' }), trusted, true],
    ['a trusted proxy names none', from('10.0.0.1'), trusted, false],
    [
      'a trusted proxy names only itself',
      from('10.0.0.1', { 'x-forwarded-for': '10.9.9.9' }),
      trusted,
      false,
    ],
    [
      'a trusted proxy names it in Forwarded',
      from('10.0.0.1', { forwarded: 'for=203.0.113.7' }),
      trusted,
      false,
    ],
    ['a stranger connects directly', from('203.0.113.7'), trusted, true],
    ['a stranger sends a header of proxies', from('203.0.113.7', { via: '1.1 x' }), trusted, false],
    ['a reserved address connects, without proxies', from('203.0.113.7'), none, false],
    ['a public address of the internet connects, without proxies', from('93.184.216.34'), none, true],
    ['a private address connects, without proxies', from('10.1.2.3'), none, false],
    ['this machine connects, without proxies', from('127.0.0.1'), none, false],
    ['somebody forwards, without proxies', from('93.184.216.34', { 'x-real-ip': '1.2.3.4' }), none, false],
    ['a private IPv6 address connects', from('fd00::1'), none, false],
  ])('when %s', (_, request, proxies, known) => {
    expect(isClientAddressKnown(request, proxies)).toBe(known);
  });
});
