import { describe, expect, it } from '@jest/globals';
import { STYLE_ELEMENT } from './page-style.ts';

const STYLE = STYLE_ELEMENT.toString();
const [light = '', dark = ''] = [...STYLE.matchAll(/:root \{([^}]*--ground[^}]*)\}/g)].map(
  ([, block]) => block,
);

function colours(block: string): Record<string, string> {
  return Object.fromEntries(
    [...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{3,6})/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

/** Relative luminance (WCAG 2.2). */
function luminance(colour: string): number {
  const hex = colour.length === 4 ? [...colour.slice(1)].map((c) => c + c).join('') : colour.slice(1);
  const [r = 0, g = 0, b = 0] = [0, 2, 4].map((at) => {
    const channel = parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [dim = 0, bright = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (bright + 0.05) / (dim + 0.05);
}

const PAIRS: [text: string, background: string, least: number][] = [
  ['ink', 'card', 4.5],
  ['ink', 'ground', 4.5],
  ['ink', 'tint', 4.5],
  ['soft', 'card', 4.5],
  ['soft', 'ground', 4.5],
  ['accent', 'card', 4.5],
  ['on-accent', 'accent', 4.5],
  ['on-accent', 'accent-hover', 4.5],
  ['bad', 'card', 4.5],
  ['warn', 'warn-ground', 4.5],
  ['edge', 'card', 3],
  ['good', 'tint', 3],
  ['bad', 'tint', 3],
];

describe.each([
  ['light', light],
  ['dark', dark],
])('the %s scheme', (_name, block) => {
  it.each(PAIRS)('shows %s on %s with a contrast of at least %d:1', (text, background, least) => {
    const { [text]: front, [background]: back } = colours(block);
    expect(contrast(front ?? '', back ?? '')).toBeGreaterThanOrEqual(least);
  });
});
