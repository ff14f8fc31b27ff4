export type * from './types.ts';
export type * from './ledger/types.ts';
export type * from './ledger/limit-types.ts';
export type * from './ledger/effective-types.ts';
export type * from './ledger/increase-request-types.ts';
export { DuplicateCodeError, StoreUnavailableError } from './errors.ts';
export { migrate, readMigrations, type Migration } from './migrations.ts';
export { openStore } from './store.ts';
