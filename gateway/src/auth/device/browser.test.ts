import { describe, expect, it } from '@jest/globals';
import type { Request, Response } from 'express';
import { BrowserCookie, isSameOrigin, sameBrowser } from './browser.ts';
import { digest } from '../digest.ts';

const GATEWAY = 'https://gateway.example';

function requestWith(headers: Record<string, string>): Request {
  return { headers } as unknown as Request;
}

/** @returns the cookie's line and what the request is known by. */
function issue(publicUrl: string, headers: Record<string, string>): { line: string; browser: Buffer } {
  let line = '';
  const response = { append: (_name: string, value: string) => (line = value) } as unknown as Response;
  const browser = new BrowserCookie(publicUrl).issue(requestWith(headers), response);
  return { line, browser };
}

describe('isSameOrigin', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['our own page', { 'sec-fetch-site': 'same-origin', origin: GATEWAY }, true],
    [
      'our own page, whose referrer policy hides the origin',
      { 'sec-fetch-site': 'same-origin', origin: 'null' },
      true,
    ],
    ['our own page in a browser without fetch metadata', { origin: GATEWAY }, true],
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, false],
    ['another site that hides its origin', { 'sec-fetch-site': 'cross-site', origin: 'null' }, false],
    ['a neighbouring host', { 'sec-fetch-site': 'same-site', origin: 'https://wiki.example' }, false],
    ['an address typed by hand', { 'sec-fetch-site': 'none' }, false],
    ['another site in a browser without fetch metadata', { origin: 'https://evil.example' }, false],
    ['a hidden origin in a browser without fetch metadata', { origin: 'null' }, false],
    ['nothing said at all', {}, false],
    ['the same host on plain http', { origin: 'http://gateway.example' }, false],
    [
      'headers that contradict each other',
      { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
      false,
    ],
  ])('judges %s', (_who, headers, verdict) => {
    expect(isSameOrigin(requestWith(headers), GATEWAY)).toBe(verdict);
  });
});

describe('BrowserCookie', () => {
  it('is bound to the host on https', () => {
    const { line } = issue(GATEWAY, {});
    expect(line).toMatch(
      /^__Host-gateway-browser=[A-Za-z0-9_-]{43}; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
    );
  });

  it('does without on plain http, where browsers would drop it', () => {
    const { line } = issue('http://127.0.0.1:8080', {});
    expect(line).toMatch(
      /^gateway-browser=[A-Za-z0-9_-]{43}; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/,
    );
  });

  it('knows the browser again and keeps its secret', () => {
    const first = issue(GATEWAY, {});
    const cookie = `theme=dark; ${first.line.split(';')[0]}; x=y`;
    expect(new BrowserCookie(GATEWAY).read(requestWith({ cookie }))).toEqual(first.browser);
    expect(issue(GATEWAY, { cookie }).browser).toEqual(first.browser);
  });

  it('takes nothing that it did not make', () => {
    for (const value of ['', 'short', 'A'.repeat(44), `${'A'.repeat(42)}!`]) {
      expect(
        new BrowserCookie(GATEWAY).read(requestWith({ cookie: `__Host-gateway-browser=${value}` })),
      ).toBeUndefined();
    }
    const plain = requestWith({ cookie: `gateway-browser=${'A'.repeat(43)}` });
    expect(new BrowserCookie(GATEWAY).read(plain)).toBeUndefined();
  });

  it('compares browsers', () => {
    expect(sameBrowser(digest('a'), digest('a'))).toBe(true);
    expect(sameBrowser(digest('a'), digest('b'))).toBe(false);
    expect(sameBrowser(undefined, digest('a'))).toBe(false);
    expect(sameBrowser(Buffer.alloc(0), digest('a'))).toBe(false);
  });
});
