import { describe, expect, it } from '@jest/globals';
import { css, html } from './html.ts';

describe('html', () => {
  it('escapes text for elements and quoted attributes', () => {
    const nasty = `"><script>alert('1')</script>&amp;`;
    expect(html`<p title="${nasty}">${nasty}</p>`.toString()).toBe(
      '<p title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;">' +
        '&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;</p>',
    );
  });

  it('takes markup of its own as it is, however deep', () => {
    const items = ['a<b', 'c'].map((item) => html`<li>${item}</li>`);
    const nested = [[html`<li>!</li>`]];
    expect(html`${items}${nested}`.toString()).toBe('<li>a&lt;b</li><li>c</li><li>!</li>');
  });

  it('leaves nothing behind for false, null and undefined, and keeps zero', () => {
    expect(html`[${false}${null}${undefined}${0}]`.toString()).toBe('[0]');
  });

  it('does not mistake a look-alike object for markup', () => {
    const impostor = { toString: () => '<script>' };
    expect(() => html`${impostor as never}`.toString()).toThrow(TypeError);
  });

  it('does not escape a stylesheet', () => {
    const style = css`
      a[b='c'] > d {
        e: f;
      }
    `;
    expect(style.toString()).toContain("a[b='c'] > d {");
  });
});
