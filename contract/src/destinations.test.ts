import { describe, expect, it } from '@jest/globals';
import { addressRefusal } from './destinations.ts';
import { databaseRefusal, isFetchableUrl } from './schema/addresses.ts';

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

describe('hosts in a file', () => {
  it.each([
    'http://169.254.169.254/latest',
    'http://[64:ff9b::a9fe:a9fe]/',
    'http://[64:ff9b:1::a9fe:a9fe]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[2002:a9fe:a9fe::1]/',
    'http://2852039166/',
    'http://0251.0376.0251.0376/',
    'http://[fd00:ec2::254]/',
    'http://metadata.google.internal./',
    'http://0.0.0.0:8080/',
    'http://[::]/',
    'http://224.0.0.1/',
    'http://[ff02::1]/',
  ])('%s is fetched from by nobody', (url) => {
    expect(isFetchableUrl(url)).toBe(false);
  });

  it.each(['https://idp.example.com/t', 'http://10.0.0.7:8080', 'http://127.0.0.1', 'http://[fd12::1]/'])(
    '%s may be one of ours',
    (url) => {
      expect(isFetchableUrl(url)).toBe(true);
    },
  );

  it.each([
    'postgres://me@169.254.169.254/db',
    'postgres://me@[64:ff9b::a9fe:a9fe]:5432/db',
    'postgres://me@%31%36%39.254.169.254/db',
    'postgresql://metadata.google.internal/db',
    'postgres://me@0.0.0.0/db',
    'postgres://me@[ff02::1]/db',
    'postgres:///db?host=169.254.169.254',
    'postgres://db.example/db?host=fe80::1',
  ])('%s is no database', (url) => {
    expect(databaseRefusal(url)).not.toBeNull();
  });

  it.each([
    'postgres://me@db.svc.cluster.local:5432/db',
    'postgres://me@10.0.0.7/db',
    'postgres://me@127.0.0.1/db',
    'postgres://me@[fd12::1]/db',
    'postgres:///db?host=/var/run/postgresql',
    'postgres://%2Fvar%2Frun%2Fpostgresql/db',
  ])('%s may be one', (url) => {
    expect(databaseRefusal(url)).toBeNull();
  });
});
