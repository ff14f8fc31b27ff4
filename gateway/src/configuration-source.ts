import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { createHash } from 'node:crypto';
import { ConfigError, loadConfig, unsupportedSections, type LoadedConfig } from '@claude-gateway/contract';
import type { FileContents } from './http/watched-files.ts';
import { readRegularFile } from './regular-file.ts';

/** One version of the configuration, and what it was read from. */
export interface ConfigurationVersion extends LoadedConfig {
  /** What was read: the file and every file that a `${file:…}` in it names. */
  readonly files: FileContents;
  /** Of the file's text, for the audit. */
  readonly sha256: string;
}

/**
 * Reads gateway.yaml.
 *
 * @param files Where to note what is read, and what is named and cannot be read: of a version that is refused, too.
 * @throws Error naming the file when it cannot be read; ConfigError with every problem when it cannot be used.
 */
export function readConfiguration(
  path: string,
  env: NodeJS.ProcessEnv,
  files = new Map<string, string | undefined>(),
): ConfigurationVersion {
  const file = resolve(path);
  const text = readText(file);
  files.set(file, text);
  const loaded = loadConfig(text, {
    env,
    path,
    readFile: (name) => {
      const named = resolve(name);
      files.set(named, undefined);
      const content = readRegularFile(named);
      files.set(named, content);
      return content;
    },
  });
  const unsupported = unsupportedSections(loaded.config);
  if (unsupported.length > 0) throw new ConfigError(unsupported, path);
  return { ...loaded, files, sha256: createHash('sha256').update(text).digest('hex') };
}

function readText(file: string): string {
  try {
    // It may come out of a pipe, where somebody only checks it.
    return statSync(file).isFIFO() ? readFileSync(file, 'utf8') : readRegularFile(file);
  } catch (error) {
    throw new Error(`cannot read the configuration ${file}: ${(error as Error).message}`, { cause: error });
  }
}
