import { describe, expect, it } from '@jest/globals';
import { createSealer } from '../session/sealer.ts';
import { openTicket, sealTicket } from './ticket.ts';
import { digest } from '../digest.ts';

const sealer = createSealer(['a secret of at least thirty-two bytes']);
const browser = digest('one browser');
const now = new Date();
const later = new Date(now.getTime() + 1000);
const ticket = { userCode: 'BCDF-GHJK', grantId: 'a grant' };

describe('ticket', () => {
  it('comes back to the browser that it was made for', () => {
    const sealed = sealTicket(sealer, ticket, browser, later);
    expect(sealed).not.toContain('BCDF');
    expect(openTicket(sealer, sealed, browser, now)).toEqual(ticket);
  });

  it('is nothing in another browser, without one, or later', () => {
    const sealed = sealTicket(sealer, ticket, browser, later);
    expect(openTicket(sealer, sealed, digest('another browser'), now)).toBeUndefined();
    expect(openTicket(sealer, sealed, undefined, now)).toBeUndefined();
    expect(openTicket(sealer, sealed, browser, later)).toBeUndefined();
  });

  it('cannot be made, changed or borrowed from another purpose', () => {
    const sealed = sealTicket(sealer, ticket, browser, later);
    const changed = Buffer.from(sealed, 'base64url');
    changed[changed.length - 20] = (changed[changed.length - 20] ?? 0) ^ 1;
    const content = JSON.stringify({
      ...ticket,
      browser: browser.toString('base64'),
      expires: later.getTime(),
    });
    const borrowed = sealer.seal('another purpose', content).toString('base64url');
    for (const forged of ['', 'x', changed.toString('base64url'), borrowed, 'A'.repeat(5000), undefined]) {
      expect(openTicket(sealer, forged, browser, now)).toBeUndefined();
    }
  });
});
