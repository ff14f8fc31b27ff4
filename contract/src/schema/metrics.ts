import { z } from 'zod';
import { nonEmpty, numeric } from './fields.ts';

export const metricsSchema = z
  .strictObject({
    host: nonEmpty().default('0.0.0.0').describe('Address to bind.'),
    port: numeric(z.int().min(0).max(65535))
      .prefault(9464)
      .describe('TCP port to bind, another one than listen.port. 0 lets the operating system choose.'),
  })
  .describe(
    'Serve metrics for Prometheus at `/metrics`, over plain HTTP and without authentication, on a port of their own that only your monitoring should reach. None are served when left out.',
  );

export type MetricsConfig = z.output<typeof metricsSchema>;
