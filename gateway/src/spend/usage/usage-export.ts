import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UsageTooOldError, type UsageReportRow, type UsageStore } from '@claude-gateway/prisma';
import { stringify } from 'csv-stringify';
import { Router, type Request, type Response } from 'express';
import { contextOf } from '../../http/context.ts';
import { ApiError } from '../../http/errors.ts';
import { boundariesOf, pageToken, readUsageQuery, type UsageQuery } from './usage-query.ts';
import { csvColumns, csvRecord, resultOf } from './usage-rows.ts';

const HOURS_AT_ONCE = 24;
/** A page ends after so many, with whole buckets: the process has other things to do than to write JSON. */
const ENOUGH_RESULTS = 10_000;

export interface UsageExportDependencies {
  readonly usage: Pick<UsageStore, 'report'>;
  readonly clock: () => Date;
}

/**
 * Who used and spent how much, for finance: `GET /` as JSON or CSV. The caller mounts it at `/v1/organizations/usage`
 * and lets in whoever may read. See docs/usage-and-alerts.md.
 */
export function createUsageExport({ usage, clock }: UsageExportDependencies): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.route('/').get(async (request, response) => {
    response.vary('Accept');
    const query = readUsageQuery(parametersOf(request), {
      now: clock(),
      acceptsCsv: request.accepts(['json', 'csv']) === 'csv',
    });
    try {
      if (query.format === 'csv') await sendCsv(usage, query, request, response);
      else response.json(await answer(usage, query));
    } catch (error) {
      throw error instanceof UsageTooOldError ? tooOld(error) : error;
    }
  });
  return router;
}

function parametersOf(request: Request): URLSearchParams {
  return new URL(request.originalUrl, 'http://localhost').searchParams;
}

function tooOld({ recordsFrom }: UsageTooOldError): ApiError {
  return new ApiError(
    'invalid_request_error',
    `starting_at: before ${timestamp(recordsFrom)} usage is known by full hours (UTC) only; begin and end on a full hour, and take a time_zone whose days do so`,
  );
}

async function answer(
  usage: UsageExportDependencies['usage'],
  query: UsageQuery,
): Promise<Record<string, unknown>> {
  const data: { starting_at: string; ending_at: string; results: Record<string, unknown>[] }[] = [];
  let end = query.from;
  let results = 0;
  for await (const { boundaries, rows } of reports(usage, query)) {
    results += rows.length;
    const byBucket = Map.groupBy(rows, ({ bucket }) => bucket);
    for (const [bucket, start] of boundaries.slice(0, -1).entries()) {
      if (data.length === query.limit) break;
      end = boundaries[bucket + 1]!;
      data.push({
        starting_at: timestamp(start),
        ending_at: timestamp(end),
        results: (byBucket.get(bucket) ?? []).map(resultOf),
      });
    }
    if (data.length === query.limit || results >= ENOUGH_RESULTS) break;
  }
  const hasMore = end < query.to;
  return { data, has_more: hasMore, next_page: hasMore ? pageToken(end) : null };
}

async function sendCsv(
  usage: UsageExportDependencies['usage'],
  query: UsageQuery,
  request: Request,
  response: Response,
): Promise<void> {
  const lines = csvLines(usage, query);
  // Whatever is wrong shows with the first piece: as an error, not as a file that breaks off.
  const first = await lines.next();
  response.attachment(`usage-${query.from.toISOString().slice(0, 10)}.csv`);
  response.type('text/csv; charset=utf-8');
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const csv = stringify({ header: true, columns: csvColumns(query.groupBy), escape_formulas: true });
  try {
    await pipeline(Readable.from(resumed(first, lines)), csv, response);
  } catch (error) {
    // The client sees that the answer has no end; its going away is nobody's fault.
    if (response.closed && (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') return;
    contextOf(request).log.warn(
      { reason: (error as Error).message, request_id: contextOf(request).id },
      'usage export broke off',
    );
  }
}

type Line = ReturnType<typeof csvRecord>;

async function* csvLines(
  usage: UsageExportDependencies['usage'],
  query: UsageQuery,
): AsyncGenerator<Line, void, undefined> {
  for await (const { boundaries, rows } of reports(usage, query)) {
    const times = boundaries.map(timestamp);
    for (const row of rows) {
      yield csvRecord(row, query.groupBy, [times[row.bucket]!, times[row.bucket + 1]!]);
    }
  }
}

interface Piece {
  readonly boundaries: readonly Date[];
  readonly rows: readonly UsageReportRow[];
}

/** The whole range, piece by piece, each of about a day: one statement, quick even for thousands of people. */
async function* reports(
  usage: UsageExportDependencies['usage'],
  query: UsageQuery,
): AsyncGenerator<Piece, void, undefined> {
  const { groupBy, filters } = query;
  for (const boundaries of pieces(query)) {
    yield { boundaries, rows: await usage.report({ boundaries, groupBy, filters }) };
  }
}

/** Boundaries by the piece; the last of one is the first of the next. */
function* pieces(query: UsageQuery): Generator<Date[]> {
  const size = query.bucketWidth === '1h' ? HOURS_AT_ONCE : 1;
  let piece: Date[] = [];
  for (const boundary of boundariesOf(query)) {
    piece.push(boundary);
    if (piece.length <= size) continue;
    yield piece;
    piece = [boundary];
  }
  if (piece.length > 1) yield piece;
}

async function* resumed<T>(first: IteratorResult<T, void>, rest: AsyncGenerator<T, void>): AsyncGenerator<T> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

/** Without the milliseconds that nobody asked for. */
function timestamp(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z');
}
