import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { COLUMNS, limitOf, type LimitRow } from '../ledger/limit-rows.ts';
import type { SpendLimit } from '../ledger/limit-types.ts';
import { periodEnd } from './period-end.ts';
import { contentOf } from './read-owned.ts';
import type { OperatorPolicyStore, PolicySpending } from './types.ts';

/** Windows of a unit, period and zone: those that the limit counts in. */
const SAME_BUDGET = 'w.unit = o.unit AND w.period = o.period AND w.time_zone = o.time_zone';

/**
 * `$1` now.
 *
 * Windows are found by the moment: each says itself where it begins and ends, so that nobody has to calculate it as the
 * gateway does. They are read once, by the index on their ends, and joined to the limits by hashing: few or many of either, the
 * time grows with their number. A person is meant by subject or by address, and by the groups they had last; who has a limit
 * of their own is nobody's member for that period and unit, and who has one through a group is not the organization's, as
 * in the gateway's caps.
 */
const SPENDING = `
  WITH owned AS MATERIALIZED (
    SELECT id, scope_type, scope_name, period, unit, sharing, amount, time_zone
      FROM ${SCHEMA}.spend_limits WHERE owner_uid <> ''),
  present AS MATERIALIZED (
    SELECT id, subject_kind, subject, unit, period, time_zone, spent, held, ends_at FROM ${SCHEMA}.budget_windows
     WHERE ends_at > $1::timestamptz AND starts_at <= $1::timestamptz),
  person AS MATERIALIZED (
    SELECT w.*, p.email_key, p.groups FROM present w
      LEFT JOIN ${SCHEMA}.principals p ON p.sub = w.subject WHERE w.subject_kind = 'user'),
  named AS MATERIALIZED (
    SELECT id, unit, period, subject AS name FROM person
     UNION SELECT id, unit, period, lower(subject COLLATE "C") FROM person WHERE position('@' IN subject) > 0
     UNION SELECT id, unit, period, email_key FROM person WHERE email_key IS NOT NULL),
  grouped AS MATERIALIZED (
    SELECT DISTINCT p.id, p.unit, p.period, g.name FROM person p, unnest(p.groups) AS g (name)),
  by_user AS MATERIALIZED (
    SELECT DISTINCT n.id FROM named n JOIN ${SCHEMA}.spend_limits l
        ON l.scope_type = 'user' AND l.scope_name = n.name AND l.unit = n.unit AND l.period = n.period),
  by_group AS MATERIALIZED (
    SELECT DISTINCT g.id FROM grouped g JOIN ${SCHEMA}.spend_limits l
        ON l.scope_type = 'rbac_group' AND l.sharing = 'per_member' AND l.scope_name = g.name
       AND l.unit = g.unit AND l.period = g.period),
  counts AS (
    SELECT o.id AS limit_id, w.spent, w.held, w.ends_at, o.amount, o.sharing
      FROM owned o JOIN present w ON ${SAME_BUDGET} AND w.subject = o.scope_name
       AND w.subject_kind = CASE o.scope_type WHEN 'organization' THEN 'organization_pool' ELSE 'group_pool' END
     WHERE o.sharing = 'pooled'
     UNION ALL
    SELECT o.id, w.spent, w.held, w.ends_at, o.amount, o.sharing
      FROM owned o JOIN named n ON n.name = o.scope_name AND n.unit = o.unit AND n.period = o.period
      JOIN person w ON w.id = n.id AND ${SAME_BUDGET}
     WHERE o.scope_type = 'user' AND o.sharing = 'per_member'
     UNION ALL
    SELECT o.id, w.spent, w.held, w.ends_at, o.amount, o.sharing
      FROM owned o JOIN grouped g ON g.name = o.scope_name AND g.unit = o.unit AND g.period = o.period
      JOIN person w ON w.id = g.id AND ${SAME_BUDGET}
     WHERE o.scope_type = 'rbac_group' AND o.sharing = 'per_member'
       AND w.id NOT IN (SELECT id FROM by_user)
     UNION ALL
    SELECT o.id, w.spent, w.held, w.ends_at, o.amount, o.sharing
      FROM owned o JOIN person w ON ${SAME_BUDGET}
     WHERE o.scope_type = 'organization' AND o.sharing = 'per_member'
       AND w.id NOT IN (SELECT id FROM by_user) AND w.id NOT IN (SELECT id FROM by_group)),
  sums AS (
    SELECT limit_id, max(spent) AS spent, (array_agg(held ORDER BY spent DESC, held DESC))[1] AS held,
           max(ends_at) AS ends_at,
           count(*) FILTER (WHERE sharing = 'per_member' AND spent > 0) AS members,
           count(*) FILTER (WHERE sharing = 'per_member' AND spent + held >= amount) AS blocked
      FROM counts GROUP BY limit_id)
  SELECT l.*, coalesce(s.spent, 0)::text AS spent, coalesce(s.held, 0)::text AS held, s.ends_at,
         coalesce(s.members, 0)::integer AS members, coalesce(s.blocked, 0)::integer AS blocked
    FROM (SELECT ${COLUMNS}, sequence FROM ${SCHEMA}.spend_limits WHERE owner_uid <> '') l
    LEFT JOIN sums s ON s.limit_id = l.id
   ORDER BY l.sequence`;

/** A hundred thousand windows take a second or two. In ms. */
const TIMEOUT_MS = 30_000;

interface SpendingRow extends LimitRow {
  readonly spent: string;
  readonly held: string;
  readonly ends_at: Date | null;
  readonly members: number;
  readonly blocked: number;
}

/** See {@link OperatorPolicyStore.spending}. */
export async function readSpending(
  database: Database,
  now: Date,
): ReturnType<OperatorPolicyStore['spending']> {
  const rows = await database.transaction(async (client) => {
    await client.query(
      // Windows of today are not in yesterday's statistics: taken for few, they would be compared with each limit.
      `SET TRANSACTION READ ONLY; SET LOCAL enable_nestloop = off; SET LOCAL statement_timeout = ${TIMEOUT_MS}`,
    );
    const query = { text: SPENDING, values: [now], query_timeout: TIMEOUT_MS + 1_000 };
    return (await client.query<SpendingRow>(query)).rows;
  });
  const ends = new Map<string, Date>();
  const endOf = ({ period, timeZone }: SpendLimit): Date => {
    const key = `${period} ${timeZone}`;
    let end = ends.get(key);
    if (end === undefined) ends.set(key, (end = periodEnd(period, timeZone, now)));
    return end;
  };
  return rows.map((row): PolicySpending => {
    const limit = limitOf(row);
    return {
      ownerUid: row.owner_uid,
      content: contentOf(limit),
      spent: BigInt(row.spent),
      held: BigInt(row.held),
      resetsAt: row.ends_at ?? endOf(limit),
      members: row.members,
      blockedMembers: row.blocked,
    };
  });
}
