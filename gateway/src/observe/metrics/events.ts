import { Gauge, type Registry } from 'prom-client';
import type { Audit } from '../audit.ts';
import { TallyCounter, type Tally } from './tally.ts';

/** More values than that of one label are a defect of ours: they share one. */
const MOST_VALUES = 32;
const OTHER = 'other';

type Fields = Record<string, unknown>;

/**
 * Counts what the audit stream says: sign-ins, refusals, policies. Of each event only what has few values becomes a label;
 * whom it is about never does.
 */
export class EventMetrics {
  readonly #count: Partial<Record<string, (fields: Fields) => void>>;

  /** @param now ms since the epoch. */
  constructor(registry: Registry, now: () => number) {
    const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
      bounded(new TallyCounter({ name: `claude_gateway_${name}`, help, labelNames, registry }));
    const timestamp = (name: string, help: string): (() => void) => {
      const gauge = new Gauge({ name: `claude_gateway_${name}`, help, registers: [registry] });
      return () => gauge.set(now() / 1000);
    };

    const tokens = counter(
      'session_tokens_total',
      'Bearer tokens that were asked for, by grant (device_code is the end of a sign-in) and outcome.',
      ['grant', 'outcome'],
    );
    const steps = counter(
      'sign_in_steps_total',
      'Steps of sign-ins: codes that devices asked for (authorize), and what people and identity providers did with them (verify).',
      ['step', 'outcome'],
    );
    const rateLimited = counter(
      'rate_limited_total',
      'Requests that were refused because one address made too many, by step of the sign-in.',
      ['step'],
    );
    const denied = counter(
      'authentication_failures_total',
      'Requests and sign-ins that were refused for who asks, by reason.',
      ['reason'],
    );
    const access = counter(
      'access_denied_total',
      'Requests that were refused before anybody looked at them, by reason: deny_cidrs, allow_cidrs, url_too_long.',
      ['reason'],
    );
    const blocked = counter(
      'spend_blocked_total',
      'Requests that a spend limit did not let through, by reason (over_limit, held where only requests in flight leave no room, or store_unavailable where the limit then fails closed), period and whose limit it is.',
      ['reason', 'period', 'source'],
    );
    const policies = counter(
      'policy_loads_total',
      'Revisions of limits and managed settings that were read, by outcome: loaded, or rejected (the last good one stays in force).',
      ['outcome'],
    );
    const policyLoaded = timestamp(
      'policy_last_load_timestamp_seconds',
      'When limits or managed settings were taken over last, in seconds since the epoch.',
    );
    const configs = counter(
      'config_loads_total',
      'Configurations that were read, by outcome: loaded, or rejected (the old one stays in force).',
      ['outcome'],
    );
    const configLoaded = timestamp(
      'config_last_load_timestamp_seconds',
      'When the configuration was taken over last, in seconds since the epoch.',
    );

    const step =
      (name: string) =>
      ({ result }: Fields): void => {
        steps(name, result);
        if (result === 'rate_limited') rateLimited(name);
      };
    this.#count = {
      'session.mint': ({ result }) => tokens('device_code', result),
      'session.refresh': ({ result }) => tokens('refresh_token', result),
      'session.exchange': ({ result }) => tokens('token_exchange', result),
      'device.authorize': step('authorize'),
      'device.verify': step('verify'),
      'auth.denied': ({ reason }) => denied(reason),
      'access.denied': ({ reason }) => access(reason),
      'spend.blocked': ({ cause, period, source }) => blocked(cause, period, source),
      'policy.load': () => {
        policies('loaded');
        policyLoaded();
      },
      'policy.reject': () => policies('rejected'),
      'config.load': () => {
        configs('loaded');
        configLoaded();
      },
      'config.reject': () => configs('rejected'),
    };
  }

  /** The same stream, counted. */
  watch(audit: Audit): Audit {
    return (event, fields) => {
      this.#count[event]?.(fields);
      audit(event, fields);
    };
  }
}

/** Raises a child, with no more than {@link MOST_VALUES} different values of a label. */
function bounded(counter: { child(...values: readonly string[]): Tally }): (...values: unknown[]) => void {
  const seen: Set<string>[] = [];
  return (...values) => {
    const labels = values.map((value, index) => {
      if (typeof value !== 'string') return OTHER;
      const known = (seen[index] ??= new Set());
      if (!known.has(value) && known.size >= MOST_VALUES) return OTHER;
      known.add(value);
      return value;
    });
    counter.child(...labels).value++;
  };
}
