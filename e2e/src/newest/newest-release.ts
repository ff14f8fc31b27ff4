import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { fetchPackage } from '@claude-gateway/dev';

export interface Release {
  readonly version: string;
  /** Path of the program. */
  readonly binary: string;
}

/** The newest Claude Code of npm, fetched into the cache. */
export function newestRelease(): Release {
  const name = `@anthropic-ai/claude-code-${process.platform}-${process.arch}`;
  const said = execFileSync('npm', ['view', `${name}@latest`, 'version', 'dist.integrity', '--json'], {
    encoding: 'utf8',
  });
  const { version, 'dist.integrity': integrity } = JSON.parse(said) as Record<string, string | undefined>;
  if (version === undefined || integrity === undefined) throw new Error(`npm does not know ${name}`);
  return { version, binary: join(fetchPackage({ name, version, integrity }), 'claude') };
}

/** What may be a key of an object whose members a program checks: a name in front of a call. */
const MEMBER = /[,{]([A-Za-z$][\w$]{1,50}):(?:\(\)=>)?[\w$.]{1,16}\(/g;
/** Longer than any match, which may lie across two chunks. */
const OVERLAP = 100;

/** Every name in a program that could be a key of its configuration. Most are not. */
export async function memberNames(binary: string): Promise<string[]> {
  const names = new Set<string>();
  let rest = '';
  for await (const chunk of createReadStream(binary, { encoding: 'latin1', highWaterMark: 1 << 22 })) {
    const text = rest + (chunk as string);
    for (const [, name = ''] of text.matchAll(MEMBER)) names.add(name);
    rest = text.slice(-OVERLAP);
  }
  return [...names].sort();
}
