import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from '@jest/globals';
import {
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
