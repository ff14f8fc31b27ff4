import { pino, type DestinationStream, type Logger } from 'pino';

export type Log = Logger;

/** Header and field names whose values never reach a log line, whatever object carries them. */
const SECRET_PATHS = [
  'authorization',
  'cookie',
  '["x-api-key"]',
  '["set-cookie"]',
  '["proxy-authorization"]',
];

/**
 * The operational log: one JSON object a line.
 *
 * @param level `info`, `warn` or `error` (CLAUDE_GATEWAY_LOG_LEVEL).
 */
export function createLog(level: string, destination?: DestinationStream): Log {
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_PATHS.flatMap((path) => [path, `headers${path.startsWith('[') ? path : `.${path}`}`]),
        censor: '[redacted]',
      },
    },
    destination ?? pino.destination({ fd: 2, sync: false }),
  );
}
