import { describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { InFlight } from './in-flight.ts';

const response = (id: number): ServerResponse => ({ id }) as unknown as ServerResponse;

describe('responses under way', () => {
  it('are counted and listed until each is over, in whatever order', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [1, 2, 0],
    ]) {
      const list = new InFlight();
      const responses = [0, 1, 2].map(response);
      const entries = responses.map((each) => list.add(each));
      const left = new Set(responses);
      expect(list.size).toBe(3);
      for (const index of order) {
        const entry = entries[index];
        if (entry === undefined) throw new Error('no such entry');
        list.delete(entry);
        left.delete(entry.response);
        expect(new Set(list)).toEqual(left);
        expect(list.size).toBe(left.size);
        expect([entry.before, entry.after]).toEqual([undefined, undefined]);
      }
    }
  });
});
