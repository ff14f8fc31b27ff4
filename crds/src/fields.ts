import { z } from 'zod';
import { durationMs } from './duration.ts';
import { matching, withRules, type Rule } from './rules.ts';

/** Every list, map and text has an upper bound: the API server refuses rules whose worst case costs too much. */
export const text = (max: number, ...rules: readonly Rule<string>[]) =>
  withRules(z.string().min(1).max(max), ...rules);

/** A list that one author writes as a whole; its order counts. */
export const atomicList = <T extends z.ZodType>(item: T, max: number, min = 0) =>
  bounded(z.array(item), max, min).meta({ 'x-kubernetes-list-type': 'atomic' });

/** A map of texts to which several authors may add. */
export const mapOf = <T extends z.ZodType>(value: T, max: number, min = 0) =>
  z
    .record(z.string(), value)
    .refine((map) => Object.keys(map).length <= max, { error: `must have at most ${max} entries` })
    .refine((map) => Object.keys(map).length >= min, { error: `must have at least ${min} entries` })
    .meta({ maxProperties: max, ...(min === 0 ? {} : { minProperties: min }) });

/** A list of distinct scalars to which several authors may add. */
export const setOf = <T extends z.ZodType<string | number>>(item: T, max: number, min = 0) =>
  bounded(z.array(item), max, min)
    .superRefine((list, ctx) => noDuplicates(list, 'values', ctx))
    .meta({ 'x-kubernetes-list-type': 'set' });

/** A list whose entries are known by some of their fields, so that several authors may each write their own entries. */
export const mapList = <T extends z.ZodType<object>>(
  item: T,
  keys: readonly (keyof z.output<T> & string)[],
  max: number,
  min = 0,
) =>
  bounded(z.array(item), max, min)
    .superRefine((list, ctx) =>
      noDuplicates(
        list.map((entry) => JSON.stringify(keys.map((name) => entry[name]))),
        keys.join(', '),
        ctx,
      ),
    )
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [...keys] });

function noDuplicates(list: readonly unknown[], what: string, ctx: z.RefinementCtx): void {
  for (const [index, value] of list.entries()) {
    if (list.indexOf(value) === index) continue;
    ctx.addIssue({ code: 'custom', path: [index], message: `must not have duplicate ${what}` });
  }
}

function bounded<T extends z.ZodType>(list: z.ZodArray<T>, max: number, min: number): z.ZodArray<T> {
  return min === 0 ? list.max(max) : list.min(min).max(max);
}

/** Names of objects: RFC 1123 subdomains. */
export const objectName = () =>
  text(
    253,
    matching(
      /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
      'use the name of an object: lower-case letters, digits, hyphens and dots, with a letter or digit at both ends',
    ),
  );

/** Names of list entries: RFC 1123 labels. */
export const label = () =>
  text(
    63,
    matching(
      /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
      'use lower-case letters, digits and hyphens, with a letter or digit at both ends',
    ),
  );

const dataKey = () =>
  text(
    253,
    matching(/^[-._a-zA-Z0-9]+$/, 'use a key of the data: letters, digits, dots, hyphens and underscores'),
  );

/** One value of a Secret in the same namespace. */
export const secretKeyRef = () =>
  z.strictObject({
    name: objectName().describe('Name of the Secret, in the namespace of this resource.'),
    key: dataKey().describe('Key of the value in the Secret.'),
  });

export const caRef = () =>
  z
    .strictObject({
      kind: z.enum(['ConfigMap', 'Secret']).default('ConfigMap').describe('What holds the certificates.'),
      name: objectName().describe('Its name, in the namespace of this resource.'),
      key: dataKey().default('ca.crt').describe('Key of the certificates, PEM.'),
    })
    .describe('CA certificates that replace the system trust store for these calls.');

const HTTP_URL = /^https?:\/\/[^\s\/?#@]+([\/?][^\s#]*)?$/;

/** A URL that the gateway connects to. Hosts of cloud metadata services are refused by the gateway itself. */
export const httpUrl = () =>
  text(
    1024,
    matching(
      HTTP_URL,
      'write an absolute URL that begins with https:// or http://, without credentials and fragment',
    ),
  );

/** `https://`, or `http://` to a sidecar. */
export const secureUrl = () =>
  text(
    1024,
    matching(
      /^(https:\/\/[^\s\/?#@]+|http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?)([\/?][^\s#]*)?$/,
      'write an https:// URL; http:// is for a collector in the same pod (localhost) only',
    ),
  );

export const cidr = () =>
  withRules(z.string().min(1).max(43), {
    rule: 'isIP(self) || isCIDR(self)',
    message: 'write an IP address, or a network in CIDR notation such as 10.0.0.0/8',
    holds: isAddressOrNetwork,
  });

function isAddressOrNetwork(value: string): boolean {
  return z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]).safeParse(value).success;
}

/** A whole number of seconds, spelt as Go and Kubernetes do. `min` and `max` are spelt the same way. */
export const duration = (min: string, max: string) =>
  withRules(z.string().min(2).max(18), {
    rule: `self.matches(r'^([0-9]{1,5}[hms]){1,3}$') && duration(self) >= duration('${min}') && duration(self) <= duration('${max}')`,
    message: `write a duration in hours, minutes and seconds, such as 1h, 15m or 1h30m, from ${min} to ${max}`,
    holds: (value) =>
      /^([0-9]{1,5}[hms]){1,3}$/.test(value) &&
      durationMs(value) >= durationMs(min) &&
      durationMs(value) <= durationMs(max),
  });

/** A price or factor: a decimal in a string, because JSON numbers are floating point. */
export const decimal = (min: number, max: number) =>
  withRules(z.string().min(1).max(24), {
    rule: `self.matches(r'^[0-9]{1,9}([.][0-9]{1,9})?$') && double(self) > ${min.toFixed(1)} && double(self) <= ${max.toFixed(1)}`,
    message: `write a decimal in quotes, such as "0.85", above ${min} and at most ${max}`,
    holds: (value) =>
      /^[0-9]{1,9}([.][0-9]{1,9})?$/.test(value) && Number(value) > min && Number(value) <= max,
  });

/** A header, its value in the open or in a Secret. */
export const headers = () =>
  mapList(
    withRules(
      z.strictObject({
        name: text(
          256,
          matching(
            /^[!#$%&*+.^_`|~0-9A-Za-z-]+$/,
            'use a header name of RFC 9110: letters, digits and hyphens, no spaces and no colon',
          ),
        ).describe('Name of the header.'),
        value: text(
          2048,
          matching(/^[!-~]([ -~]*[!-~])?$/, 'use printable ASCII, without space at either end'),
        )
          .optional()
          .describe('Value of the header. Use secretRef for credentials.'),
        secretRef: secretKeyRef().optional().describe('Value of the header, from a Secret.'),
      }),
      {
        rule: 'has(self.value) != has(self.secretRef)',
        message: 'set value or secretRef, and not both',
        holds: ({ value, secretRef }) => (value !== undefined) !== (secretRef !== undefined),
      },
    ),
    ['name'],
    32,
  );

export const groupName = () => text(256).describe('Group, spelt as the identity provider spells it.');

/** IANA time zones. The API server knows the same database that CronJobs use. */
export const timeZone = () =>
  text(64, {
    rule: "self.matches(r'^[A-Za-z]') && timestamp('2026-01-01T00:00:00Z').getFullYear(self) > 0",
    message: 'write an IANA time zone, such as Europe/Berlin',
    holds: isTimeZone,
  });

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name) || name === 'Local') return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Which gateways of the namespace a policy is for. */
export const gatewayRefs = () =>
  mapList(
    z.strictObject({
      name: objectName().describe('Name of a ClaudeGateway in the namespace of this resource.'),
    }),
    ['name'],
    64,
    1,
  )
    .optional()
    .describe('The gateways that this is for. Every gateway of the namespace when left out.');

/** Percentages of a limit at which people are warned. */
export const warnAtPercent = () =>
  withRules(atomicList(z.int().min(1).max(99), 10), {
    rule: 'self.all(percent, self.exists_one(other, other == percent))',
    message: 'name each percentage once',
    holds: (list) => new Set(list).size === list.length,
  });
