/**
 * Writes docs/reference/gateway-yaml.md and docs/reference/schemas/gateway.json: `node contract/src/generate-docs.ts`. With
 * `--check` it writes nothing and exits 1 when a file is stale.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { jsonSchema } from './json-schema.ts';
import { renderReference } from './reference-docs.ts';

const files = new Map<string, string>([
  ['docs/reference/gateway-yaml.md', renderReference()],
  ['docs/reference/schemas/gateway.json', `${JSON.stringify(jsonSchema(), null, 2)}\n`],
]);

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

for (const [name, wanted] of files) {
  const path = fileURLToPath(new URL(`../../${name}`, import.meta.url));
  if (current(path) === wanted) continue;
  if (process.argv.includes('--check')) {
    process.stderr.write(`${name} is stale: run node contract/src/generate-docs.ts\n`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, wanted);
  }
}
