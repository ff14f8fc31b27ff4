import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createHash } from 'node:crypto';
import { ConfigError, loadConfig, unsupportedSections, type LoadedConfig } from '@claude-gateway/contract';

/** One version of the configuration, and what it was read from. */
export interface ConfigurationVersion extends LoadedConfig {
  /** The file and every file that a `${file:…}` in it names. */
  readonly files: readonly string[];
  /** Of the file's text, for the audit. */
  readonly sha256: string;
}

/**
 * Reads gateway.yaml.
 *
 * @throws Error naming the file when it cannot be read; ConfigError with every problem when it cannot be used.
 */
export function readConfiguration(path: string, env: NodeJS.ProcessEnv): ConfigurationVersion {
  const file = resolve(path);
  const text = readText(file);
  const files = [file];
  const loaded = loadConfig(text, {
    env,
    path,
    readFile: (name) => {
      files.push(resolve(name));
      return readFileSync(name, 'utf8');
    },
  });
  const unsupported = unsupportedSections(loaded.config);
  if (unsupported.length > 0) throw new ConfigError(unsupported, path);
  return { ...loaded, files, sha256: createHash('sha256').update(text).digest('hex') };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`cannot read the configuration ${file}: ${(error as Error).message}`, { cause: error });
  }
}
