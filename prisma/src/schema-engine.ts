import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  bindMigrationAwareSqlAdapterFactory,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils';
import type * as Engine from '@prisma/schema-engine-wasm/schema_engine_bg';
import type pg from 'pg';
import { SCHEMA } from './connection.ts';

export type { MigrationList } from '@prisma/schema-engine-wasm/schema_engine_bg';

/** The little of WebAssembly that is needed here; TypeScript knows the rest of it only together with the DOM. */
declare const WebAssembly: {
  instantiate(code: Uint8Array, imports: Record<string, object>): Promise<{ instance: { exports: object } }>;
};

/** Nothing in our schema is managed by others. */
export const NO_FILTERS = { externalTables: [], externalEnums: [] };

/** Runs one SQL script of possibly many statements. */
export type RunScript = (script: string) => Promise<void>;

/**
 * Prisma's schema engine as WebAssembly, so that neither an image nor a closed network needs the native one.
 * Loading it takes a tenth of a second and some 50 MB: only when there is something to do.
 *
 * @param pool one connection, whose search_path selects the schema to work in.
 * @param runScript replaces the adapter's own, which cuts scripts at every semicolon and gives each piece to any
 *   connection.
 * @param decorate for checks in tests, which read more of the database than migrations do.
 */
export async function loadSchemaEngine(
  pool: pg.Pool,
  runScript: RunScript,
  decorate: (adapter: SqlDriverAdapter) => SqlDriverAdapter = (adapter) => adapter,
): Promise<Engine.SchemaEngine> {
  const engine = await (loaded ??= instantiate());
  const driver = new PrismaPg(pool, { schema: SCHEMA });
  const connect = async (): Promise<SqlDriverAdapter> =>
    decorate(Object.assign(await driver.connect(), { executeScript: runScript }));
  const factory: SqlMigrationAwareDriverAdapterFactory = {
    provider: driver.provider,
    adapterName: driver.adapterName,
    connect,
    // Only asked for by checks in tests, which bring an empty database.
    connectToShadowDb: connect,
  };
  const datamodel = 'datasource db {\n  provider = "postgresql"\n}\n';
  return engine.SchemaEngine.new(
    { datamodels: [['schema.prisma', datamodel]] },
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(factory),
  );
}

/** Once in a process: the glue code holds one instance, and a second one would pull it from under the first. */
let loaded: Promise<typeof Engine> | undefined;

async function instantiate(): Promise<typeof Engine> {
  const engine = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  // The engine hands the words of a panic to this global before it traps; without it they are lost.
  (globalThis as { PRISMA_WASM_PANIC_REGISTRY?: object }).PRISMA_WASM_PANIC_REGISTRY ??= {
    set_message: onPanic,
  };
  const glue = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const wasm = await WebAssembly.instantiate(await readFile(glue.replace(/\.js$/, '.wasm')), {
    './schema_engine_bg.js': { ...engine, ...timersThatEnd(engine) },
  });
  engine.__wbg_set_wasm(wasm.instance.exports);
  (wasm.instance.exports as { __wbindgen_start(): void }).__wbindgen_start();
  return engine;
}

/** Its time limit on a lock is never cleared (10 s): that must not keep a process alive. */
function timersThatEnd(engine: object): object {
  const timers = Object.entries(engine).filter(([name]) => name.startsWith('__wbg_setTimeout_'));
  const unref = ([name, setTimer]: [string, (callback: () => void, ms: number) => NodeJS.Timeout]) => [
    name,
    (callback: () => void, ms: number) => setTimer(callback, ms).unref(),
  ];
  return Object.fromEntries(timers.map(unref)) as object;
}

function onPanic(message: string): void {
  throw new Error(`Prisma's schema engine failed: ${message}`);
}
