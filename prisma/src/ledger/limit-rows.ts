import { SCHEMA } from '../connection.ts';
import type { LimitContent, LimitOwner, LimitScope, SpendLimit } from './limit-types.ts';
import { scopeNameOf } from './limit-version.ts';

/** A row of spend_limits, as pg reads it with {@link COLUMNS}. */
export interface LimitRow {
  readonly id: string;
  readonly scope_type: LimitScope['type'];
  readonly scope_name: string;
  readonly period: SpendLimit['period'];
  readonly unit: SpendLimit['unit'];
  readonly sharing: SpendLimit['sharing'];
  readonly amount: string | null;
  readonly mode: SpendLimit['mode'];
  readonly when_short: SpendLimit['whenShort'];
  readonly failure_policy: SpendLimit['failurePolicy'];
  readonly time_zone: string;
  readonly warn_at_percent: readonly number[];
  readonly blocked_message: string | null;
  readonly policy_name: string | null;
  readonly owner_kind: string | null;
  readonly owner_namespace: string | null;
  readonly owner_name: string | null;
  readonly owner_uid: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

/** Enums as text: pg would ask for their types otherwise. */
export const COLUMNS = `id, scope_type::text, scope_name, period::text, unit::text, sharing::text, amount::text,
  mode::text, when_short::text, failure_policy::text, time_zone, warn_at_percent, blocked_message, policy_name,
  owner_kind, owner_namespace, owner_name, owner_uid, created_at, updated_at`;

/** Parameters: {@link keyValues}. */
export const SAME_KEY = `scope_type = $1::${SCHEMA}.limit_scope_type AND scope_name = $2
  AND period = $3::${SCHEMA}.budget_period AND unit = $4::${SCHEMA}.budget_unit
  AND sharing = $5::${SCHEMA}.limit_sharing`;

/** Parameters: {@link keyValues}, {@link settingValues}, {@link ownerValues}, id, now. */
export const INSERT = `
  INSERT INTO ${SCHEMA}.spend_limits
    (scope_type, scope_name, period, unit, sharing,
     amount, mode, when_short, failure_policy, time_zone, warn_at_percent, blocked_message,
     policy_name, owner_kind, owner_namespace, owner_name, owner_uid, id, created_at, updated_at)
  VALUES ($1::${SCHEMA}.limit_scope_type, $2, $3::${SCHEMA}.budget_period, $4::${SCHEMA}.budget_unit,
          $5::${SCHEMA}.limit_sharing, $6, $7::${SCHEMA}.enforcement_mode, $8::${SCHEMA}.when_short,
          $9::${SCHEMA}.failure_policy, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $19)
  RETURNING ${COLUMNS}`;

/** Parameters: {@link settingValues}, {@link ownerValues}, id, now. */
export const UPDATE = `
  UPDATE ${SCHEMA}.spend_limits
     SET amount = $1, mode = $2::${SCHEMA}.enforcement_mode, when_short = $3::${SCHEMA}.when_short,
         failure_policy = $4::${SCHEMA}.failure_policy, time_zone = $5, warn_at_percent = $6, blocked_message = $7,
         policy_name = $8, owner_kind = $9, owner_namespace = $10, owner_name = $11, owner_uid = $12,
         updated_at = $14
   WHERE id = $13
  RETURNING ${COLUMNS}`;

/** What makes a limit another one and not another version of the same. */
export function keyValues({ scope, period, unit, sharing }: LimitContent): readonly string[] {
  return [scope.type, scopeNameOf(scope), period, unit, sharing];
}

export function settingValues(content: LimitContent): readonly unknown[] {
  return [
    content.amount?.toString() ?? null,
    content.mode,
    content.whenShort,
    content.failurePolicy,
    content.timeZone,
    content.warnAtPercent,
    content.blockedMessage,
  ];
}

export function ownerValues(owner: LimitOwner | null, policyName: string | null): readonly (string | null)[] {
  return [policyName, owner?.kind ?? null, owner?.namespace ?? null, owner?.name ?? null, owner?.uid ?? ''];
}

export function limitOf(row: LimitRow): SpendLimit {
  return {
    id: row.id,
    scope: scopeOf(row.scope_type, row.scope_name),
    period: row.period,
    unit: row.unit,
    sharing: row.sharing,
    amount: row.amount === null ? null : BigInt(row.amount),
    mode: row.mode,
    whenShort: row.when_short,
    failurePolicy: row.failure_policy,
    timeZone: row.time_zone,
    warnAtPercent: row.warn_at_percent,
    blockedMessage: row.blocked_message,
    policyName: row.policy_name,
    owner:
      row.owner_uid === ''
        ? null
        : {
            kind: row.owner_kind ?? '',
            namespace: row.owner_namespace ?? '',
            name: row.owner_name ?? '',
            uid: row.owner_uid,
          },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function scopeOf(type: LimitScope['type'], name: string): LimitScope {
  switch (type) {
    case 'organization':
      return { type };
    case 'rbac_group':
      return { type, group: name };
    case 'user':
      return { type, user: name };
  }
}
