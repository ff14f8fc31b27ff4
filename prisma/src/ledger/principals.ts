import { SCHEMA } from '../connection.ts';
import { emailKey } from '../identity.ts';
import { storable, storableKey } from '../storable.ts';
import type { PrincipalSighting } from './usage-types.ts';

/** In the order of their keys, so that replicas do not lock each other out. */
export const TOUCH = `
  INSERT INTO ${SCHEMA}.principals AS p (sub, kind, email, email_key, name, groups, first_seen_at, last_seen_at)
  SELECT sub, kind, email, email_key, name, groups, seen_at, seen_at
    FROM (SELECT DISTINCT ON (sub) *
            FROM jsonb_to_recordset($1::jsonb)
                 AS s (sub text, kind text, email text, email_key text, name text, groups text[], seen_at timestamptz)
           ORDER BY sub, seen_at DESC) latest
  ON CONFLICT (sub) DO UPDATE SET
    kind = excluded.kind, email = excluded.email, email_key = excluded.email_key, name = excluded.name,
    groups = excluded.groups, last_seen_at = excluded.last_seen_at
  WHERE excluded.last_seen_at >= p.last_seen_at`;

/** The sightings as parameter of {@link TOUCH}. */
export function touchParameter(sightings: readonly PrincipalSighting[]): string {
  return JSON.stringify(
    sightings.map(({ sub, kind, email, name, groups, seenAt }) => ({
      sub: storableKey(sub),
      kind,
      email: email === null ? null : storable(email),
      email_key: email === null ? null : storableKey(emailKey(storable(email))),
      name: name === null ? null : storable(name),
      groups: groups.map(storableKey),
      seen_at: seenAt.toISOString(),
    })),
  );
}
