import { describe, expect, it } from '@jest/globals';
import { InFlight, type Entry } from './in-flight.ts';

class Item implements Entry<Item> {
  before: Item | undefined;
  after: Item | undefined;
}

describe('requests under way', () => {
  it('are counted and listed until each is over, in whatever order', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [1, 2, 0],
    ]) {
      const list = new InFlight<Item>();
      const items = [new Item(), new Item(), new Item()];
      for (const item of items) list.add(item);
      const left = new Set(items);
      expect(list.size).toBe(3);
      for (const index of order) {
        const item = items[index];
        if (item === undefined) throw new Error('no such item');
        list.delete(item);
        left.delete(item);
        expect(new Set(list)).toEqual(left);
        expect(list.size).toBe(left.size);
        expect([item.before, item.after]).toEqual([undefined, undefined]);
      }
    }
  });

  it('may leave while they are listed', () => {
    const list = new InFlight<Item>();
    for (let i = 0; i < 3; i++) list.add(new Item());
    let seen = 0;
    for (const item of list) {
      seen++;
      list.delete(item);
    }
    expect([seen, list.size]).toEqual([3, 0]);
  });
});
