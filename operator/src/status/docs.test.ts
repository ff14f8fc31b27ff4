import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';

const root = new URL('../../../', import.meta.url);

it('shows in docs/kubernetes.md what kubectl prints', () => {
  const page = readFileSync(new URL('docs/kubernetes.md', root), 'utf8');
  const blocks = [...page.matchAll(/<!-- (\S+\.txt) -->\n+```console\n(.*?)```/gs)];
  expect(blocks.length).toBeGreaterThanOrEqual(4);
  for (const [, file = '', text] of blocks)
    expect(text?.trimEnd()).toBe(readFileSync(new URL(file, root), 'utf8').trimEnd());
});
