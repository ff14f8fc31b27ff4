-- AlterTable
ALTER TABLE "sessions" ADD COLUMN     "used_from" TEXT,
ADD COLUMN     "used_by" TEXT;

-- AlterTable
ALTER TABLE "replaced_refresh_tokens" ADD COLUMN     "used_from" TEXT,
ADD COLUMN     "used_by" TEXT;

-- AlterTable
ALTER TABLE "revocations" ADD COLUMN     "reason" TEXT;
