import { expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Heartbeat, type Silent } from './heartbeat.ts';

class Stream implements Silent {
  idleTicks = 0;
  beatBefore: Silent | undefined;
  beatAfter: Silent | undefined;
  silences = 0;
  ticks = 0;

  onSilence(): void {
    this.silences++;
  }

  onTick(): void {
    this.ticks++;
  }
}

it('calls the streams that are silent, whoever joins and leaves, and stops with the last', async () => {
  const heartbeat = new Heartbeat(50);
  const streams = Array.from({ length: 5 }, () => new Stream());
  for (const stream of streams) heartbeat.add(stream);
  const [first, second, third, fourth, last] = streams as [Stream, Stream, Stream, Stream, Stream];
  heartbeat.delete(third);
  heartbeat.delete(first);
  heartbeat.delete(last);
  while (second.silences < 2) {
    fourth.idleTicks = 0;
    await sleep(5);
  }
  expect(streams.map(({ silences }) => silences > 0)).toEqual([false, true, false, false, false]);
  expect(streams.map(({ ticks }) => ticks > 0)).toEqual([false, true, false, true, false]);
  expect([heartbeat.ticksOf(100), heartbeat.ticksOf(0)]).toEqual([10, Infinity]);
  heartbeat.add(last);
  while (last.silences === 0) await sleep(5);
  for (const stream of [second, fourth, last]) heartbeat.delete(stream);
  const before = streams.map(({ silences }) => silences);
  await sleep(150);
  expect(streams.map(({ silences }) => silences)).toEqual(before);
  expect(
    streams.every(({ beatBefore, beatAfter }) => beatBefore === undefined && beatAfter === undefined),
  ).toBe(true);
});
