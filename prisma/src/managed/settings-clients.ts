import { again } from '../again.ts';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { storable, storableKey } from '../storable.ts';
import type { SettingsClientStore, SettingsFetch } from './types.ts';

/** A client that has not asked for so long is forgotten. Claude Code asks every hour. */
export const CLIENT_LIFETIME_MS = 24 * 3_600_000;

/**
 * `$1` clients as JSON: the latest fetch of each. Rows are locked in the order of their keys, so that replicas seldom lock
 * each other out.
 */
const RECORD = `
  WITH fetches AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS f (client text, principal text, at timestamptz, documents json)
     WHERE NOT EXISTS (
       SELECT FROM ${SCHEMA}.settings_clients s WHERE s.client = f.client AND s.fetched_at > f.at)),
  wanted AS MATERIALIZED (
    SELECT f.client, f.principal, f.at, d.owner_uid, d.document_hash
      FROM fetches f, json_to_recordset(f.documents) AS d (owner_uid text, document_hash text)),
  other AS MATERIALIZED (
    SELECT s.client, s.owner_uid FROM fetches f JOIN ${SCHEMA}.settings_clients s ON s.client = f.client
     WHERE s.fetched_at <= f.at
       AND NOT EXISTS (SELECT FROM wanted w WHERE w.client = s.client AND w.owner_uid = s.owner_uid)
     ORDER BY s.client, s.owner_uid FOR UPDATE OF s),
  gone AS (
    DELETE FROM ${SCHEMA}.settings_clients s USING other o
     WHERE s.client = o.client AND s.owner_uid = o.owner_uid)
  INSERT INTO ${SCHEMA}.settings_clients AS s (client, principal, owner_uid, document_hash, fetched_at)
  SELECT client, principal, owner_uid, document_hash, at FROM wanted ORDER BY client, owner_uid
  ON CONFLICT (client, owner_uid) DO UPDATE
     SET principal = excluded.principal, document_hash = excluded.document_hash, fetched_at = excluded.fetched_at
   WHERE excluded.fetched_at >= s.fetched_at`;

export class PostgresSettingsClientStore implements SettingsClientStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async record(entries: readonly SettingsFetch[]): Promise<void> {
    const latest = new Map<string, SettingsFetch>();
    for (const entry of entries) {
      const client = storableKey(entry.client);
      const other = latest.get(client);
      if (other === undefined || entry.at >= other.at) latest.set(client, entry);
    }
    if (latest.size === 0) return;
    const fetches = JSON.stringify([...latest].map(fetchJson));
    await again(() => this.#database.execute(RECORD, [fetches]));
  }
}

function fetchJson([client, { principal, documents, at }]: readonly [string, SettingsFetch]): unknown {
  const hashes = new Map(documents.map(({ ownerUid, documentHash }) => [ownerUid, documentHash]));
  return {
    client,
    principal: storable(principal),
    at,
    documents: [...hashes].map(([owner_uid, document_hash]) => ({ owner_uid, document_hash })),
  };
}
