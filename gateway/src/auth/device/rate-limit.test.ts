import { describe, expect, it } from '@jest/globals';
import { addressKey } from './rate-limit.ts';

describe('addressKey', () => {
  it('counts an IPv4 address by itself', () => {
    expect(addressKey('203.0.113.7')).toBe('203.0.113.7');
  });

  it('counts the addresses of one IPv6 subscriber together', () => {
    expect(addressKey('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
    expect(addressKey('2001:db8:1:2::1')).toBe('2001:db8:1:2::/64');
    expect(addressKey('2001:db8:1:3::1')).not.toBe('2001:db8:1:2::/64');
    expect(addressKey('::1')).toBe('0:0:0:0::/64');
  });

  it('takes what is no address as it is', () => {
    expect(addressKey('')).toBe('');
  });
});
