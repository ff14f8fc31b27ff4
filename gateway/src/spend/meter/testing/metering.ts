import type { IncomingHttpHeaders } from 'node:http';
import type { MeteredUsage } from '../../types.ts';
import { createMeter, type MeterOptions } from '../meter.ts';
import { NO_USAGE } from '../../no-usage.ts';

/** What a meter makes of these chunks. Each is overwritten once the meter has seen it, as a socket's buffer may be. */
export async function metered(
  chunks: readonly (Buffer | string)[],
  headers: IncomingHttpHeaders = {},
  options: MeterOptions = {},
): Promise<MeteredUsage> {
  const meter = createMeter(headers, options);
  for (const chunk of chunks) {
    const copy = Buffer.from(chunk);
    meter.bytes(copy);
    copy.fill('"');
  }
  return meter.end();
}

/** What most answers are about: not what only matters when counts are missing or are of several models. */
type Basics = Omit<MeteredUsage, 'usInference' | 'answered' | 'topLevel' | 'iterations' | 'uncounted'>;

export async function basics(...of: Parameters<typeof metered>): Promise<Basics> {
  const all = await metered(...of);
  const kept = Object.keys(usage({})).map((name) => [name, all[name as keyof Basics]] as const);
  return Object.fromEntries(kept) as unknown as Basics;
}

/** A result with these counts and nothing else: complete, with input counted. */
export function usage(counts: Partial<Basics>): Basics {
  return { ...NO_USAGE, fastMode: false, outcome: 'complete', inputCounted: true, ...counts };
}
