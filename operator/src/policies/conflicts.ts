export type { Conflict, Conflicts } from './conflict-list.ts';
export { settingsConflicts } from './settings-conflicts.ts';
export { spendConflicts } from './spend-conflicts.ts';
