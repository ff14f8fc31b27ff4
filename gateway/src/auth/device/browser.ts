import { timingSafeEqual } from 'node:crypto';
import type { Request, Response } from 'express';
import { createSecret } from './secrets.ts';
import { digest } from '../digest.ts';

/** Long enough to read the page, find one's phone for a second factor and come back. */
const COOKIE_SECONDS = 3600;
const SECRET = /^[A-Za-z0-9_-]{43}$/;

/**
 * The browser that a sign-in belongs to, known by a random cookie. `SameSite=Lax` keeps it off cross-site posts but
 * lets it come along when the identity provider navigates back to the callback. `__Host-` keeps neighbouring hosts
 * from planting one; browsers want https for it, so development on plain http does without.
 */
export class BrowserCookie {
  readonly #secure: boolean;
  readonly #name: string;

  constructor(publicUrl: string) {
    this.#secure = publicUrl.startsWith('https:');
    this.#name = this.#secure ? '__Host-gateway-browser' : 'gateway-browser';
  }

  /** Digest of the browser's secret, or undefined when it has none. */
  read(request: Request): Buffer | undefined {
    const secret = this.#secretOf(request);
    return secret === undefined ? undefined : digest(secret);
  }

  /** Keeps the browser's secret, or gives it one, for another hour. @returns its digest. */
  issue(request: Request, response: Response): Buffer {
    const secret = this.#secretOf(request) ?? createSecret();
    response.append(
      'set-cookie',
      `${this.#name}=${secret}; Max-Age=${COOKIE_SECONDS}; Path=/; HttpOnly; SameSite=Lax${this.#secure ? '; Secure' : ''}`,
    );
    return digest(secret);
  }

  #secretOf(request: Request): string | undefined {
    for (const pair of (request.headers.cookie ?? '').split(';')) {
      const equals = pair.indexOf('=');
      if (pair.slice(0, equals).trim() !== this.#name) continue;
      const value = pair.slice(equals + 1).trim();
      if (SECRET.test(value)) return value;
    }
    return undefined;
  }
}

/** Whether both are present and the same, in constant time. */
export function sameBrowser(a: Buffer | undefined, b: Buffer): boolean {
  return a !== undefined && a.length === b.length && timingSafeEqual(a, b);
}

/**
 * Whether a form was sent by a page of ours. Browsers say so in `Sec-Fetch-Site` (Fetch Metadata); those that do not
 * must name our origin. `Origin: null` is what a page with `referrer-policy: no-referrer` sends, so it decides nothing.
 */
export function isSameOrigin(request: Request, publicUrl: string): boolean {
  const { origin } = request.headers;
  const site = request.headers['sec-fetch-site'];
  if (origin !== undefined && origin !== 'null' && origin !== new URL(publicUrl).origin) return false;
  return site === undefined ? origin !== undefined && origin !== 'null' : site === 'same-origin';
}
