import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from '@jest/globals';
import {
  addressRefusal,
  assertUrlAllowed,
  BlockedDestinationError,
  checkedAddresses,
  guardedLookup,
  type Resolver,
} from './ssrf-guard.ts';

const answers =
  (...addresses: string[]): Resolver =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

describe('addresses', () => {
  it.each([
    ['169.254.169.254', 'link-local'],
    ['169.254.170.2', 'link-local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['febf::1', 'link-local'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['192.0.0.192', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['fd00:0ec2:0:0:0:0:0:254', 'metadata'],
    ['fd00:ec2::23', 'metadata'],
    ['fd20:ce::254', 'metadata'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    // An IPv4 address in IPv6 clothes: mapped, compatible, translated (SIIT, NAT64), 6to4, Teredo, ISATAP.
    ['::ffff:169.254.169.254', 'link-local'],
    ['::ffff:a9fe:a9fe', 'link-local'],
    ['::169.254.169.254', 'link-local'],
    ['::ffff:0:a9fe:a9fe', 'link-local'],
    ['64:ff9b::a9fe:a9fe', 'link-local'],
    ['64:ff9b:1::a9fe:a9fe', 'link-local'],
    ['64:ff9b::a83f:8110', 'metadata'],
    ['2002:a9fe:a9fe::1', 'link-local'],
    ['2001:0:a9fe:a9fe::1', 'link-local'],
    ['2001:0:4136:e378:8000:63bf:5601:5601', 'link-local'],
    ['fd12::5efe:a9fe:a9fe', 'link-local'],
    ['2001:db8::200:5efe:a9fe:a9fe', 'link-local'],
    // Spellings that a resolver's C library reads as addresses.
    ['2852039166', 'link-local'],
    ['0xa9fea9fe', 'link-local'],
    ['0251.0376.0251.0376', 'link-local'],
    ['not-an-address', 'not an IP address'],
  ])('%s is blocked', (address, why) => {
    expect(addressRefusal(address, true)).toContain(why);
  });

  it.each([
    '10.1.2.3',
    '172.16.0.1',
    '192.168.0.1',
    '100.64.0.1',
    'fd12:3456::1',
    '1.1.1.1',
    '2606:4700::1111',
    '::ffff:10.0.0.1',
  ])('%s may be connected to', (address) => {
    expect(addressRefusal(address, false)).toBeNull();
  });

  it.each([
    '127.0.0.1',
    '127.8.8.8',
    '::1',
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
    '2130706433',
    '0x7f.1',
    '017700000001',
  ])('loopback %s needs the development switch', (address) => {
    expect(addressRefusal(address, false)).toContain('CLAUDE_GATEWAY_ALLOW_LOOPBACK');
    expect(addressRefusal(address, true)).toBeNull();
  });
});

describe('URLs of the configuration', () => {
  const check = (url: string, allowLoopback = false): URL =>
    assertUrlAllowed(url, { allowLoopback, field: 'oidc[0].issuer' });

  it.each([
    'http://169.254.169.254/latest/meta-data',
    'http://2852039166/',
    'http://0251.0376.0251.0376/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://metadata.google.internal/computeMetadata/v1/',
    'http://METADATA.google.internal./',
    'http://user:password@[fd00:ec2::254]:8080/',
    'https://localhost:8443',
    'https://idp.localhost',
    'https://127.1/',
    'ftp://idp.example.com',
    'file:///etc/passwd',
    'not a url',
  ])('%s is refused, naming the field', (url) => {
    expect(() => check(url)).toThrow(BlockedDestinationError);
    expect(() => check(url)).toThrow(/^oidc\[0\]\.issuer: /);
  });

  it('keeps credentials out of the message', () => {
    expect(() => check('http://user:hunter2@169.254.169.254/')).toThrow(/^(?!.*hunter2)/);
  });

  it('accepts public and private hosts, and loopback when told so', () => {
    expect(check('https://login.example.com/tenant').href).toBe('https://login.example.com/tenant');
    expect(check('http://10.0.0.7:8080').port).toBe('8080');
    expect(check('http://localhost:9000', true).hostname).toBe('localhost');
  });
});

describe('names', () => {
  const addressesOf = (hostname: string, resolve: Resolver): Promise<readonly LookupAddress[]> =>
    checkedAddresses(hostname, { allowLoopback: false, resolve });

  it('judges every address of an answer', async () => {
    await expect(addressesOf('idp.example', answers('93.184.216.34', '10.0.0.8'))).resolves.toHaveLength(2);
    await expect(addressesOf('idp.example', answers('93.184.216.34', '169.254.169.254'))).rejects.toThrow(
      'idp.example resolves to 169.254.169.254',
    );
    await expect(addressesOf('idp.example', answers('2606:4700::1', '::ffff:127.0.0.1'))).rejects.toThrow(
      BlockedDestinationError,
    );
  });

  it('does not even look up the name of a metadata service', async () => {
    const resolve: Resolver = async () => {
      throw new Error('asked');
    };
    await expect(addressesOf('metadata.google.internal', resolve)).rejects.toThrow('cloud metadata service');
  });

  it('answers a socket in the shape and family that it asked for', async () => {
    const lookup = guardedLookup({ allowLoopback: false, resolve: answers('10.0.0.1', 'fd12::1') });
    const ask = (options: object): Promise<unknown> =>
      new Promise((resolve, reject) =>
        lookup('idp.example', options, (error, address, family) =>
          error ? reject(error) : resolve([address, family]),
        ),
      );
    await expect(ask({})).resolves.toEqual(['10.0.0.1', 4]);
    await expect(ask({ family: 6 })).resolves.toEqual(['fd12::1', 6]);
    await expect(ask({ all: true })).resolves.toEqual([
      [
        { address: '10.0.0.1', family: 4 },
        { address: 'fd12::1', family: 6 },
      ],
      undefined,
    ]);
  });

  it('says ENOTFOUND when no address of the wanted family exists', async () => {
    const lookup = guardedLookup({ allowLoopback: false, resolve: answers('10.0.0.1') });
    const error = await new Promise((resolve) => lookup('idp.example', { family: 6 }, resolve));
    expect(error).toMatchObject({ code: 'ENOTFOUND' });
  });
});
