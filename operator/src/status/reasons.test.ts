import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { REASONS, severityOf } from './reasons.ts';

const page = readFileSync(new URL('../../../docs/reference/conditions.md', import.meta.url), 'utf8');

describe('docs/reference/conditions.md', () => {
  const sections = new Map(page.split(/^## /m).map((text) => [text.slice(0, text.indexOf('\n')), text]));

  it.each(Object.entries(REASONS))('explains every reason of %s', (kind, types) => {
    // The second condition of both kinds of policy has the same reasons, and they are explained once.
    const text = `${sections.get(kind) ?? ''}${kind === 'ManagedSettings' ? (sections.get('SpendPolicy') ?? '') : ''}`;
    for (const [type, reasons] of Object.entries(types)) {
      expect(text).toContain(`### ${type}`);
      for (const [reason, { status }] of Object.entries(reasons as Record<string, { status: string }>))
        expect(text).toMatch(new RegExp(`\\| ${status} +\\| \`${reason}\` `));
    }
  });

  it('knows how to take each of them', () => {
    expect(severityOf('SpendPolicy', 'Accepted', 'Invalid')).toBe('failure');
    expect(severityOf('SpendPolicy', 'Accepted', 'Whatever')).toBeUndefined();
  });
});
