-- CreateEnum
CREATE TYPE "device_grant_status" AS ENUM ('pending', 'approved', 'denied');

-- CreateTable
CREATE TABLE "device_grants" (
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "device_code_hash" BYTEA NOT NULL,
    "user_code_hash" BYTEA NOT NULL,
    "status" "device_grant_status" NOT NULL DEFAULT 'pending',
    "surface" TEXT,
    "client_address" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "interval_seconds" INTEGER NOT NULL,
    "last_polled_at" TIMESTAMPTZ(3),
    "decided_at" TIMESTAMPTZ(3),
    "sub" TEXT,
    "provider" TEXT,
    "email" TEXT,
    "name" TEXT,
    "groups" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "idp_refresh_token_sealed" BYTEA,

    CONSTRAINT "device_grants_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "sign_in_attempts" (
    "state_hash" BYTEA NOT NULL,
    "browser_hash" BYTEA NOT NULL,
    "grant_id" UUID NOT NULL,
    "provider" TEXT NOT NULL,
    "secrets_sealed" BYTEA NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "sign_in_attempts_pkey" PRIMARY KEY ("state_hash")
);

-- CreateTable
CREATE TABLE "sessions" (
    "id" UUID NOT NULL,
    "sub" TEXT NOT NULL,
    "provider" TEXT NOT NULL,
    "email" TEXT,
    "email_key" TEXT,
    "name" TEXT,
    "groups" TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "refreshed_at" TIMESTAMPTZ(3) NOT NULL,
    "refresh_token_hash" BYTEA,
    "refresh_claimed_until" TIMESTAMPTZ(3),
    "idp_refresh_token_sealed" BYTEA,
    "revoked_at" TIMESTAMPTZ(3),
    "revoke_reason" TEXT,

    CONSTRAINT "sessions_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "replaced_refresh_tokens" (
    "token_hash" BYTEA NOT NULL,
    "session_id" UUID NOT NULL,
    "replaced_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "replaced_refresh_tokens_pkey" PRIMARY KEY ("token_hash")
);

-- CreateTable
CREATE TABLE "revocations" (
    "session_id" UUID NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "recorded_at" TIMESTAMPTZ(6) NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT "revocations_pkey" PRIMARY KEY ("session_id")
);

-- CreateTable
CREATE TABLE "rate_limit_windows" (
    "key" TEXT NOT NULL,
    "starts_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "hits" INTEGER NOT NULL,

    CONSTRAINT "rate_limit_windows_pkey" PRIMARY KEY ("key","starts_at")
);

-- CreateIndex
CREATE UNIQUE INDEX "device_grants_device_code_hash_key" ON "device_grants"("device_code_hash");

-- CreateIndex
CREATE UNIQUE INDEX "device_grants_user_code_hash_key" ON "device_grants"("user_code_hash");

-- CreateIndex
CREATE INDEX "device_grants_expires_at_idx" ON "device_grants"("expires_at");

-- CreateIndex
CREATE INDEX "sign_in_attempts_grant_id_idx" ON "sign_in_attempts"("grant_id");

-- CreateIndex
CREATE INDEX "sign_in_attempts_expires_at_idx" ON "sign_in_attempts"("expires_at");

-- CreateIndex
CREATE UNIQUE INDEX "sessions_refresh_token_hash_key" ON "sessions"("refresh_token_hash");

-- CreateIndex
CREATE INDEX "sessions_sub_idx" ON "sessions"("sub");

-- CreateIndex
CREATE INDEX "sessions_email_key_idx" ON "sessions"("email_key");

-- CreateIndex
CREATE INDEX "sessions_refreshed_at_idx" ON "sessions"("refreshed_at");

-- CreateIndex
CREATE INDEX "sessions_revoked_at_idx" ON "sessions"("revoked_at");

-- CreateIndex
CREATE INDEX "replaced_refresh_tokens_session_id_idx" ON "replaced_refresh_tokens"("session_id");

-- CreateIndex
CREATE INDEX "replaced_refresh_tokens_replaced_at_idx" ON "replaced_refresh_tokens"("replaced_at");

-- CreateIndex
CREATE INDEX "revocations_recorded_at_idx" ON "revocations"("recorded_at");

-- CreateIndex
CREATE INDEX "revocations_expires_at_idx" ON "revocations"("expires_at");

-- CreateIndex
CREATE INDEX "rate_limit_windows_expires_at_idx" ON "rate_limit_windows"("expires_at");

-- AddForeignKey
ALTER TABLE "sign_in_attempts" ADD CONSTRAINT "sign_in_attempts_grant_id_fkey" FOREIGN KEY ("grant_id") REFERENCES "device_grants"("id") ON DELETE CASCADE ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "replaced_refresh_tokens" ADD CONSTRAINT "replaced_refresh_tokens_session_id_fkey" FOREIGN KEY ("session_id") REFERENCES "sessions"("id") ON DELETE CASCADE ON UPDATE RESTRICT;
