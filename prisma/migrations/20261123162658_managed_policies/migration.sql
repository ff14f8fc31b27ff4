-- AlterTable
ALTER TABLE "replicas" ADD COLUMN     "seen_at" TIMESTAMPTZ(3),
ADD COLUMN     "version" TEXT;

-- CreateTable
CREATE TABLE "managed_policies" (
    "owner_uid" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "owner_kind" TEXT NOT NULL,
    "owner_namespace" TEXT NOT NULL,
    "owner_name" TEXT NOT NULL,
    "priority" INTEGER NOT NULL,
    "position" INTEGER NOT NULL,
    "document" JSON NOT NULL,
    "document_hash" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "managed_policies_pkey" PRIMARY KEY ("owner_uid","name")
);

-- CreateTable
CREATE TABLE "settings_clients" (
    "client" TEXT NOT NULL,
    "owner_uid" TEXT NOT NULL,
    "principal" TEXT NOT NULL,
    "document_hash" TEXT NOT NULL,
    "fetched_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "settings_clients_pkey" PRIMARY KEY ("client","owner_uid")
);

-- CreateIndex
CREATE INDEX "settings_clients_fetched_at_idx" ON "settings_clients"("fetched_at");
