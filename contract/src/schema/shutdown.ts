import { z } from 'zod';
import { numeric } from './fields.ts';

export const shutdownSchema = z
  .strictObject({
    delay_seconds: numeric(z.number().min(0).max(300))
      .prefault(5)
      .describe(
        'How long to go on serving after SIGTERM, in seconds (0 to 300), so that load balancers take notice first. Readiness fails at once.',
      ),
    grace_seconds: numeric(z.number().min(0).max(86_400))
      .prefault(600)
      .describe('How long requests in flight may take to finish after that, in seconds (0 to 86400).'),
  })
  .prefault({})
  .describe('How the gateway leaves service on SIGTERM.');

export type ShutdownConfig = z.output<typeof shutdownSchema>;
