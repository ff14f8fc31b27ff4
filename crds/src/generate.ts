/**
 * Writes crds/generated/*.yaml, the chart's templates of them, schemas for editors and docs/reference/custom-resources.md:
 * `node crds/src/generate.ts`. With `--check` it writes nothing and exits 1 when a file is stale.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { renderChartTemplate } from './chart-template.ts';
import { KINDS, toDefinition } from './definition.ts';
import { editorSchema, manifestsSchema } from './editor-schema.ts';
import { renderReference } from './reference-docs.ts';

const GENERATED = '# Generated from crds/src by crds/src/generate.ts; edit the schemas and run it again.\n';

const files = new Map<string, string>([
  ...KINDS.map((kind): [string, string] => [
    `../generated/${kind.plural}.yaml`,
    GENERATED + stringify(toDefinition(kind), { lineWidth: 0, aliasDuplicateObjects: false }),
  ]),
  ...KINDS.map((kind): [string, string] => [
    `../../charts/claude-gateway/templates/crds/${kind.plural}.yaml`,
    `{{- /* Generated from crds/src by crds/src/generate.ts; edit the schemas and run it again. */}}\n` +
      renderChartTemplate(kind),
  ]),
  ...KINDS.map((kind): [string, string] => [
    `../../docs/reference/schemas/${kind.singular}.json`,
    `${JSON.stringify(editorSchema(kind), null, 2)}\n`,
  ]),
  ['../../docs/reference/schemas/manifests.json', `${JSON.stringify(manifestsSchema(KINDS), null, 2)}\n`],
  ['../../docs/reference/custom-resources.md', renderReference(KINDS)],
]);

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

for (const [name, wanted] of files) {
  const path = fileURLToPath(new URL(name, import.meta.url));
  if (current(path) === wanted) continue;
  if (process.argv.includes('--check')) {
    process.stderr.write(`${path} is stale: run npm run generate\n`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, wanted);
  }
}
