/**
 * Writes docs/reference/gateway-yaml.md: `node contract/src/generate-docs.ts`. With `--check` it
 * writes nothing and exits 1 when the file is stale.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderReference } from './reference-docs.ts';

const target = fileURLToPath(new URL('../../docs/reference/gateway-yaml.md', import.meta.url));
const wanted = renderReference();

function current(): string | undefined {
  try {
    return readFileSync(target, 'utf8');
  } catch {
    return undefined;
  }
}

if (process.argv.includes('--check')) {
  if (current() !== wanted) {
    process.stderr.write('docs/reference/gateway-yaml.md is stale: run node contract/src/generate-docs.ts\n');
    process.exitCode = 1;
  }
} else {
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, wanted);
}
