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

/** A result with these counts and nothing else: complete, with input counted. */
export function usage(counts: Partial<MeteredUsage>): MeteredUsage {
  return {
    ...NO_USAGE,
    fastMode: false,
    outcome: 'complete',
    inputCounted: true,
    ...counts,
  };
}
