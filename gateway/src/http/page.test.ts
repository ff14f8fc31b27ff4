import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { html, renderPage, sendPage, type PageResponse } from './page.ts';

async function answer(page: PageResponse, method: 'GET' | 'HEAD' = 'GET') {
  const server = createServer((_request, response) => sendPage(response, page));
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  try {
    const { port } = server.address() as AddressInfo;
    const { statusCode, headers, body } = await request(`http://127.0.0.1:${port}/`, { method });
    return { status: statusCode, headers, text: await body.text() };
  } finally {
    server.close();
  }
}

const PAGE: PageResponse = { title: 'Hello', body: html`<h1>Hello</h1>`, secure: true };

describe('sendPage', () => {
  it('allows exactly the stylesheet that it sends, and no form', async () => {
    const { headers, text } = await answer(PAGE);
    const style = /<style>([^]*?)<\/style>/.exec(text)?.[1] ?? '';
    expect(style).toContain('prefers-color-scheme: dark');
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'`,
    );
    expect(text).not.toMatch(/<script|style=|onload|src=|<link/i);
  });

  it('lets forms lead to the gateway and to the named origins, each once', async () => {
    const { headers } = await answer({
      ...PAGE,
      formActionOrigins: ['https://a.example', 'https://b.example', 'https://a.example'],
    });
    expect(headers['content-security-policy']).toContain(
      "; form-action 'self' https://a.example https://b.example; frame-ancestors",
    );
  });

  it('is never stored, framed, sniffed or referred from', async () => {
    const { headers } = await answer(PAGE);
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
      'strict-transport-security': 'max-age=31536000',
    });
  });

  it('does not promise https on plain http', async () => {
    const { headers } = await answer({ ...PAGE, secure: false });
    expect(headers).not.toHaveProperty('strict-transport-security');
  });

  it('answers HEAD with the headers alone', async () => {
    const { headers, text } = await answer(PAGE, 'HEAD');
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(renderPage(PAGE)));
    expect(text).toBe('');
  });
});

describe('renderPage', () => {
  it('escapes the title and the reference', () => {
    const page = renderPage({ ...PAGE, title: '</title><script>', reference: '<b>' });
    expect(page).toContain('<title>&lt;/title&gt;&lt;script&gt; – Claude Gateway</title>');
    expect(page).toContain('<samp>&lt;b&gt;</samp>');
  });

  it('has a language, a main landmark and a width for phones', () => {
    const page = renderPage(PAGE);
    expect(page).toMatch(/^<!doctype html>\s*<html lang="en">/);
    expect(page).toContain('<main><h1>Hello</h1></main>');
    expect(page).toContain('content="width=device-width, initial-scale=1"');
    expect(page).not.toContain('<footer');
  });
});
