/* Writes the migration that schema.prisma asks for: `npm run migration -w @claude-gateway/prisma -- add_something`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { startPostgres } from '@claude-gateway/dev';
import { schemaDiff } from './schema-diff.ts';

const name = process.argv[2] ?? '';
if (!/^[a-z0-9_]+$/.test(name)) throw new Error('name the migration in snake_case: what does it do?');

const postgres = await startPostgres();
try {
  const sql = await schemaDiff(await postgres.createDatabase());
  if (sql === '') {
    process.stdout.write('The migrations make what schema.prisma says. Nothing to do.\n');
  } else {
    const time = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
    const dir = fileURLToPath(new URL(`../../migrations/${time}_${name}`, import.meta.url));
    await mkdir(dir, { recursive: true });
    await writeFile(`${dir}/migration.sql`, `${sql}\n`);
    process.stdout.write(
      `${dir}/migration.sql\nRead it: it runs in one transaction, beside replicas of the version before.\n`,
    );
  }
} finally {
  await postgres.stop();
}
