import { createHash } from 'node:crypto';
import type { BudgetSubject, WindowSpec } from '@claude-gateway/prisma';

/**
 * Names a window: a UUID of version 8 (RFC 9562 §5.8) out of the SHA-256 of everything that makes it this window, so
 * that every replica names it alike without asking.
 */
export function windowId({
  subject,
  unit,
  period,
  timeZone,
  startsAt,
}: Pick<WindowSpec, 'subject' | 'unit' | 'period' | 'timeZone' | 'startsAt'>): string {
  // As JSON, nothing in a name can pass for a border between two parts.
  const parts = [subject.kind, nameOf(subject), unit, period, timeZone, startsAt.getTime()];
  const bytes = createHash('sha256').update(JSON.stringify(parts)).digest();
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function nameOf(subject: BudgetSubject): string {
  switch (subject.kind) {
    case 'user':
      return subject.sub;
    case 'group_pool':
      return subject.group;
    case 'organization_pool':
      return '';
  }
}
