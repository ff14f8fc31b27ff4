-- CreateEnum
CREATE TYPE "limit_scope_type" AS ENUM ('organization', 'rbac_group', 'user');

-- CreateEnum
CREATE TYPE "budget_unit" AS ENUM ('nano_usd', 'tokens', 'tokens_with_cache_reads');

-- CreateEnum
CREATE TYPE "budget_period" AS ENUM ('daily', 'weekly', 'monthly');

-- CreateEnum
CREATE TYPE "limit_sharing" AS ENUM ('per_member', 'pooled');

-- CreateEnum
CREATE TYPE "enforcement_mode" AS ENUM ('strict', 'bounded', 'postpaid');

-- CreateEnum
CREATE TYPE "when_short" AS ENUM ('refuse', 'shrink_output');

-- CreateEnum
CREATE TYPE "failure_policy" AS ENUM ('open', 'closed');

-- CreateTable
CREATE TABLE "spend_limits" (
    "id" TEXT NOT NULL,
    "scope_type" "limit_scope_type" NOT NULL,
    "scope_name" TEXT NOT NULL,
    "period" "budget_period" NOT NULL,
    "unit" "budget_unit" NOT NULL,
    "sharing" "limit_sharing" NOT NULL,
    "amount" BIGINT,
    "mode" "enforcement_mode" NOT NULL,
    "when_short" "when_short" NOT NULL,
    "failure_policy" "failure_policy",
    "time_zone" TEXT NOT NULL,
    "warn_at_percent" INTEGER[],
    "blocked_message" TEXT,
    "policy_name" TEXT,
    "owner_kind" TEXT,
    "owner_namespace" TEXT,
    "owner_name" TEXT,
    "owner_uid" TEXT NOT NULL DEFAULT '',
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "sequence" BIGSERIAL NOT NULL,

    CONSTRAINT "spend_limits_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "policy_revision" (
    "id" INTEGER NOT NULL,
    "revision" BIGINT NOT NULL,
    "changed_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "policy_revision_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "admin_audit" (
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "sequence" BIGSERIAL NOT NULL,
    "recorded_at" TIMESTAMPTZ(3) NOT NULL,
    "actor" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "target_id" TEXT NOT NULL,
    "before" JSONB,
    "after" JSONB,
    "reason" TEXT,

    CONSTRAINT "admin_audit_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "budget_windows" (
    "id" UUID NOT NULL,
    "subject_kind" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "unit" "budget_unit" NOT NULL,
    "period" "budget_period" NOT NULL,
    "time_zone" TEXT NOT NULL,
    "starts_at" TIMESTAMPTZ(3) NOT NULL,
    "ends_at" TIMESTAMPTZ(3) NOT NULL,
    "named_only" BOOLEAN NOT NULL DEFAULT false,
    "spent" BIGINT NOT NULL,
    "held" BIGINT NOT NULL,
    "cap" BIGINT,

    CONSTRAINT "budget_windows_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "budget_leases" (
    "replica_id" UUID NOT NULL,
    "window_id" UUID NOT NULL,
    "amount" BIGINT NOT NULL,

    CONSTRAINT "budget_leases_pkey" PRIMARY KEY ("replica_id","window_id")
);

-- CreateTable
CREATE TABLE "replicas" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "policy_revision" BIGINT NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "replicas_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "in_flight_requests" (
    "id" UUID NOT NULL,
    "replica_id" UUID NOT NULL,
    "window_ids" UUID[],
    "record" JSONB NOT NULL,

    CONSTRAINT "in_flight_requests_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "usage_records" (
    "id" UUID NOT NULL,
    "request_id" TEXT NOT NULL,
    "sub" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "groups" TEXT[],
    "model" TEXT NOT NULL,
    "upstream" TEXT,
    "fast_mode" BOOLEAN NOT NULL,
    "input_tokens" BIGINT NOT NULL,
    "output_tokens" BIGINT NOT NULL,
    "cache_read_tokens" BIGINT NOT NULL,
    "cache_write_5m_tokens" BIGINT NOT NULL,
    "cache_write_1h_tokens" BIGINT NOT NULL,
    "web_searches" INTEGER NOT NULL,
    "cost_nano_usd" BIGINT NOT NULL,
    "outcome" TEXT NOT NULL,
    "status" INTEGER NOT NULL,
    "admitted_at" TIMESTAMPTZ(3) NOT NULL,
    "settled_at" TIMESTAMPTZ(6) NOT NULL DEFAULT clock_timestamp(),
    "first_byte_ms" INTEGER,
    "duration_ms" INTEGER NOT NULL,

    CONSTRAINT "usage_records_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "usage_hours" (
    "hour" TIMESTAMPTZ(0) NOT NULL,
    "sub" TEXT NOT NULL,
    "groups" TEXT[],
    "groups_key" TEXT NOT NULL,
    "model" TEXT NOT NULL,
    "upstream" TEXT NOT NULL,
    "requests" BIGINT NOT NULL,
    "input_tokens" BIGINT NOT NULL,
    "output_tokens" BIGINT NOT NULL,
    "cache_read_tokens" BIGINT NOT NULL,
    "cache_write_5m_tokens" BIGINT NOT NULL,
    "cache_write_1h_tokens" BIGINT NOT NULL,
    "web_searches" BIGINT NOT NULL,
    "cost_nano_usd" BIGINT NOT NULL,

    CONSTRAINT "usage_hours_pkey" PRIMARY KEY ("hour","sub","groups_key","model","upstream")
);

-- CreateTable
CREATE TABLE "usage_rollup" (
    "id" INTEGER NOT NULL,
    "settled_until" TIMESTAMPTZ(6) NOT NULL,

    CONSTRAINT "usage_rollup_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "principals" (
    "sub" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "email" TEXT,
    "email_key" TEXT,
    "name" TEXT,
    "groups" TEXT[],
    "first_seen_at" TIMESTAMPTZ(3) NOT NULL,
    "last_seen_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "principals_pkey" PRIMARY KEY ("sub")
);

-- CreateTable
CREATE TABLE "limit_increase_requests" (
    "id" TEXT NOT NULL,
    "sequence" BIGSERIAL NOT NULL,
    "sub" TEXT NOT NULL,
    "period" "budget_period" NOT NULL,
    "current_amount" BIGINT,
    "requested_amount" BIGINT,
    "reason" TEXT,
    "status" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "resolved_at" TIMESTAMPTZ(3),
    "resolved_by" TEXT,
    "resolution_note" TEXT,
    "approved_amount" BIGINT,

    CONSTRAINT "limit_increase_requests_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "budget_alerts" (
    "window_id" UUID NOT NULL,
    "threshold" INTEGER NOT NULL,
    "raised_at" TIMESTAMPTZ(3) NOT NULL,
    "data" JSONB NOT NULL,
    "delivered_to" TEXT[],
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "next_attempt_at" TIMESTAMPTZ(3),

    CONSTRAINT "budget_alerts_pkey" PRIMARY KEY ("window_id","threshold")
);

-- CreateIndex
CREATE UNIQUE INDEX "spend_limits_sequence_key" ON "spend_limits"("sequence");

-- CreateIndex
CREATE INDEX "spend_limits_owner_uid_idx" ON "spend_limits"("owner_uid");

-- CreateIndex
CREATE UNIQUE INDEX "spend_limits_scope_type_scope_name_period_unit_sharing_owne_key" ON "spend_limits"("scope_type", "scope_name", "period", "unit", "sharing", "owner_uid");

-- CreateIndex
CREATE UNIQUE INDEX "admin_audit_sequence_key" ON "admin_audit"("sequence");

-- CreateIndex
CREATE INDEX "admin_audit_recorded_at_idx" ON "admin_audit"("recorded_at");

-- CreateIndex
CREATE INDEX "budget_windows_ends_at_idx" ON "budget_windows"("ends_at");

-- CreateIndex
CREATE INDEX "budget_windows_subject_kind_subject_starts_at_idx" ON "budget_windows"("subject_kind", "subject", "starts_at");

-- CreateIndex
CREATE INDEX "budget_leases_window_id_idx" ON "budget_leases"("window_id");

-- CreateIndex
CREATE INDEX "replicas_expires_at_idx" ON "replicas"("expires_at");

-- CreateIndex
CREATE INDEX "in_flight_requests_replica_id_idx" ON "in_flight_requests"("replica_id");

-- CreateIndex
CREATE INDEX "usage_records_admitted_at_idx" ON "usage_records"("admitted_at");

-- CreateIndex
CREATE INDEX "usage_records_sub_admitted_at_idx" ON "usage_records"("sub", "admitted_at");

-- CreateIndex
CREATE INDEX "usage_records_settled_at_idx" ON "usage_records"("settled_at");

-- CreateIndex
CREATE INDEX "usage_hours_sub_hour_idx" ON "usage_hours"("sub", "hour");

-- CreateIndex
CREATE INDEX "principals_email_key_idx" ON "principals"("email_key");

-- CreateIndex
CREATE INDEX "principals_last_seen_at_idx" ON "principals"("last_seen_at");

-- CreateIndex
CREATE INDEX "principals_groups_idx" ON "principals" USING GIN ("groups");

-- CreateIndex
CREATE UNIQUE INDEX "limit_increase_requests_sequence_key" ON "limit_increase_requests"("sequence");

-- CreateIndex
CREATE INDEX "limit_increase_requests_status_idx" ON "limit_increase_requests"("status");

-- CreateIndex
CREATE INDEX "limit_increase_requests_sub_idx" ON "limit_increase_requests"("sub");

-- CreateIndex
CREATE INDEX "budget_alerts_next_attempt_at_idx" ON "budget_alerts"("next_attempt_at");

-- AddForeignKey
ALTER TABLE "budget_leases" ADD CONSTRAINT "budget_leases_window_id_fkey" FOREIGN KEY ("window_id") REFERENCES "budget_windows"("id") ON DELETE CASCADE ON UPDATE RESTRICT;

-- What Prisma's schema does not know of.

-- Counters never run below zero, whoever writes them.
ALTER TABLE "budget_windows" ADD CONSTRAINT "budget_windows_amounts_check" CHECK ("spent" >= 0 AND "held" >= 0);
ALTER TABLE "budget_leases" ADD CONSTRAINT "budget_leases_amount_check" CHECK ("amount" > 0);

-- Room on each page for the next version of a row: it then needs no new index entries.
ALTER TABLE "budget_windows" SET (fillfactor = 70);
ALTER TABLE "replicas" SET (fillfactor = 50);
