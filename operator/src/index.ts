export { WorkQueue, type ReconcileResult, type WorkQueueOptions } from './kube/work-queue.ts';
