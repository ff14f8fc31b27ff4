import { describe, expect, it } from '@jest/globals';
import { RecentMap } from './recent-map.ts';

describe('RecentMap', () => {
  it('never holds more than its capacity', () => {
    const map = new RecentMap<number, number>(10);
    for (let key = 0; key < 1000; key++) {
      map.set(key, key);
      expect(map.size).toBeLessThanOrEqual(10);
    }
    expect(map.get(999)).toBe(999);
    expect(map.get(0)).toBeUndefined();
  });

  it('keeps what is asked for', () => {
    const map = new RecentMap<string, number>(4);
    map.set('kept', 1);
    for (let key = 0; key < 100; key++) {
      map.set(`passing ${key}`, key);
      expect(map.get('kept')).toBe(1);
    }
  });

  it('replaces and forgets in either generation', () => {
    const map = new RecentMap<string, number>(4);
    for (const key of ['a', 'b', 'c']) map.set(key, 1);
    map.set('a', 2);
    expect(map.get('a')).toBe(2);
    map.delete('b');
    map.delete('c');
    expect([map.get('b'), map.get('c'), map.size]).toEqual([undefined, undefined, 1]);
  });
});
