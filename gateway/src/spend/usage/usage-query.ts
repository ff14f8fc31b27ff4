import type { UsageDimension, UsageFilters } from '@claude-gateway/prisma';
import { DateTime, IANAZone } from 'luxon';
import { ApiError } from '../../http/errors.ts';

export type BucketWidth = '1h' | '1d' | 'all';

/** What somebody wants to know about usage. */
export interface UsageQuery {
  readonly format: 'json' | 'csv';
  readonly from: Date;
  readonly to: Date;
  readonly bucketWidth: BucketWidth;
  /** IANA name of the zone whose days and hours are meant. */
  readonly timeZone: string;
  readonly groupBy: readonly UsageDimension[];
  readonly filters: UsageFilters;
  /** Buckets in one answer; JSON only. */
  readonly limit: number;
}

const DIMENSIONS: readonly UsageDimension[] = ['user', 'group', 'model', 'upstream'];
const WIDTHS: readonly BucketWidth[] = ['1h', '1d', 'all'];
/** Default and most buckets of one JSON answer. */
const LIMITS: Readonly<Record<BucketWidth, readonly [number, number]>> = {
  '1h': [24, 168],
  '1d': [7, 31],
  all: [1, 1],
};
const MOST_BUCKETS = 10_000;
const WIDTH_MS: Readonly<Record<BucketWidth, number>> = { '1h': 3_600_000, '1d': 82_800_000, all: Infinity };
const MOST_VALUES = 1_000;

const LISTS = {
  'group_by[]': 'group_by',
  'users[]': 'users',
  'groups[]': 'groups',
  'models[]': 'models',
  'upstreams[]': 'upstreams',
} as const;
const SINGLE = ['starting_at', 'ending_at', 'bucket_width', 'time_zone', 'limit', 'page', 'format'] as const;

/**
 * Reads the query of `GET /v1/organizations/usage`.
 *
 * @param parameters Lists may be written `name[]=a&name[]=b` or `name=a&name=b`.
 * @param acceptsCsv What `Accept` says; `format` wins.
 * @throws ApiError 400 naming the parameter and the remedy.
 */
export function readUsageQuery(
  parameters: URLSearchParams,
  { now, acceptsCsv }: { now: Date; acceptsCsv: boolean },
): UsageQuery {
  refuseUnknown(parameters);
  const format = choice(parameters, 'format', ['json', 'csv']) ?? (acceptsCsv ? 'csv' : 'json');
  const bucketWidth = choice(parameters, 'bucket_width', WIDTHS) ?? '1d';
  const timeZone = one(parameters, 'time_zone') ?? 'UTC';
  if (!IANAZone.isValidZone(timeZone)) {
    throw invalid('time_zone', `must be the name of a time zone, such as Europe/Berlin`);
  }
  const start = moment(parameters, 'starting_at', timeZone);
  if (start === undefined) {
    throw invalid('starting_at', 'is required: a time such as 2026-11-01T00:00:00Z, or a date');
  }
  const to = moment(parameters, 'ending_at', timeZone) ?? now;
  if (to <= start) throw invalid('ending_at', 'must be later than starting_at; by default it is now');
  const from = startOfPage(parameters, format) ?? start;
  if (from < start || from >= to) {
    throw invalid('page', 'must be the next_page of an answer to the same query');
  }
  if ((to.getTime() - from.getTime()) / WIDTH_MS[bucketWidth] > MOST_BUCKETS) {
    throw invalid(
      'ending_at',
      `is more than ${MOST_BUCKETS} buckets away: take a shorter range or wider buckets`,
    );
  }
  const users = list(parameters, 'users');
  const groups = list(parameters, 'groups');
  const models = list(parameters, 'models');
  const upstreams = list(parameters, 'upstreams');
  return {
    format,
    from,
    to,
    bucketWidth,
    timeZone,
    groupBy: groupBy(parameters),
    filters: {
      ...(users === undefined ? {} : { users }),
      ...(groups === undefined ? {} : { groups }),
      ...(models === undefined ? {} : { models }),
      ...(upstreams === undefined ? {} : { upstreams }),
    },
    limit: limit(parameters, bucketWidth),
  };
}

/** The buckets' boundaries, from `from` to `to`: whole hours or days of the zone, cut where the range begins and ends. */
export function* boundariesOf({ from, to, bucketWidth, timeZone }: UsageQuery): Generator<Date> {
  yield from;
  if (bucketWidth !== 'all') {
    const unit = bucketWidth === '1d' ? 'day' : 'hour';
    let next = DateTime.fromJSDate(from, { zone: timeZone }).startOf(unit);
    for (;;) {
      // From the start again: where midnight does not exist, the day begins later.
      next = next.plus({ [unit]: 1 }).startOf(unit);
      if (next.toMillis() >= to.getTime()) break;
      yield next.toJSDate();
    }
  }
  yield to;
}

const PAGE = /^page_([A-Za-z0-9_-]{1,64})$/;

/** Opaque to clients: where the next page begins. */
export function pageToken(from: Date): string {
  return `page_${Buffer.from(from.toISOString()).toString('base64url')}`;
}

function startOfPage(parameters: URLSearchParams, format: 'json' | 'csv'): Date | undefined {
  const token = one(parameters, 'page');
  if (token === undefined) return undefined;
  if (format === 'csv') throw invalid('page', 'does not apply to CSV, which has everything in one answer');
  const encoded = PAGE.exec(token)?.[1];
  const date = new Date(encoded === undefined ? NaN : Buffer.from(encoded, 'base64url').toString());
  if (Number.isNaN(date.getTime()) || pageToken(date) !== token) {
    throw invalid('page', 'must be the next_page of an earlier answer');
  }
  return date;
}

function invalid(field: string, remedy: string): ApiError {
  return new ApiError('invalid_request_error', `${field}: ${remedy}`);
}

function refuseUnknown(parameters: URLSearchParams): void {
  const known = new Set<string>([...SINGLE, ...Object.keys(LISTS), ...Object.values(LISTS)]);
  for (const [name, value] of parameters) {
    if (!known.has(name)) {
      const names = [...SINGLE, ...Object.keys(LISTS)].join(', ');
      throw invalid(
        JSON.stringify(name.slice(0, 64)),
        `is no parameter of this endpoint, which has ${names}`,
      );
    }
    if (value.includes('\0')) throw invalid(name, 'must not contain a NUL character');
  }
}

function one(parameters: URLSearchParams, name: (typeof SINGLE)[number]): string | undefined {
  const values = parameters.getAll(name);
  if (values.length > 1) throw invalid(name, 'must be given once');
  return values[0] === '' ? undefined : values[0];
}

function choice<Word extends string>(
  parameters: URLSearchParams,
  name: (typeof SINGLE)[number],
  words: readonly Word[],
): Word | undefined {
  const value = one(parameters, name);
  const word = words.find((candidate) => candidate === value);
  if (value !== undefined && word === undefined) throw invalid(name, `must be one of ${words.join(', ')}`);
  return word;
}

function list(parameters: URLSearchParams, name: string): string[] | undefined {
  const values = [...parameters.getAll(`${name}[]`), ...parameters.getAll(name)];
  if (values.length > MOST_VALUES)
    throw invalid(`${name}[]`, `must not be given more than ${MOST_VALUES} times`);
  return values.length === 0 ? undefined : values;
}

function groupBy(parameters: URLSearchParams): UsageDimension[] {
  const wanted = (list(parameters, 'group_by') ?? []).flatMap((value) => value.split(','));
  return [...new Set(wanted)].map((value) => {
    const dimension = DIMENSIONS.find((candidate) => candidate === value);
    if (dimension !== undefined) return dimension;
    const hint = /^(day|hour)$/.test(value) ? '; for days and hours there is bucket_width' : '';
    throw invalid('group_by[]', `must be of ${DIMENSIONS.join(', ')}${hint}`);
  });
}

function limit(parameters: URLSearchParams, width: BucketWidth): number {
  const [usual, most] = LIMITS[width];
  const value = one(parameters, 'limit');
  if (value === undefined) return usual;
  const number = /^\d{1,6}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > most) {
    throw invalid('limit', `must be a whole number from 1 to ${most} (buckets of ${width})`);
  }
  return number;
}

/** In UTC: of times far from these not every calendar agrees that they exist. */
const MIN_YEAR = 1970;
const MAX_YEAR = 9998;

/** RFC 3339, or a date, which begins at midnight of the zone. */
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/i;

function moment(
  parameters: URLSearchParams,
  name: 'starting_at' | 'ending_at',
  zone: string,
): Date | undefined {
  // A plus that was not escaped arrives as a space.
  const value = one(parameters, name)?.replace(/ (?=\d{2}:\d{2}$)/, '+');
  if (value === undefined) return undefined;
  const date = TIME.test(value) ? DateTime.fromISO(value.toUpperCase(), { zone }) : undefined;
  if (date?.isValid !== true) {
    throw invalid(
      name,
      'must be a time with its offset such as 2026-11-01T00:00:00Z, or a date such as 2026-11-01',
    );
  }
  const { year } = date.toUTC();
  if (year < MIN_YEAR || year > MAX_YEAR)
    throw invalid(name, `must be of a year from ${MIN_YEAR} to ${MAX_YEAR}`);
  return date.toJSDate();
}
