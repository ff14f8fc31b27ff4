-- AlterTable
ALTER TABLE "replicas" ADD COLUMN     "hears" BOOLEAN NOT NULL DEFAULT true;

-- CreateTable
CREATE TABLE "budget_recalls" (
    "window_id" UUID NOT NULL,
    "replica_id" UUID NOT NULL,
    "recalled_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "budget_recalls_pkey" PRIMARY KEY ("window_id","replica_id")
);
