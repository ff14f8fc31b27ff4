-- AlterTable
ALTER TABLE "usage_rollup" ADD COLUMN     "records_from" TIMESTAMPTZ(0);
