import { describe, expect, it } from '@jest/globals';
import { imageOf } from './image.ts';
import { gatewayWith } from './testing/inputs.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const OTHER = `sha256:${'b'.repeat(64)}`;
const REGISTRY = 'registry.example:5000/team/claude-gateway';

describe('imageOf', () => {
  it.each([
    [undefined, `${REGISTRY}:0.1.0`, `${REGISTRY}:0.1.0`],
    [{}, `${REGISTRY}:0.1.0@${DIGEST}`, `${REGISTRY}:0.1.0@${DIGEST}`],
    [{}, REGISTRY, REGISTRY],
    [{ tag: '0.2.0' }, `${REGISTRY}:0.1.0@${DIGEST}`, `${REGISTRY}:0.2.0`],
    [{ tag: '0.2.0' }, 'claude-gateway', 'claude-gateway:0.2.0'],
    [{ digest: OTHER }, `${REGISTRY}:0.1.0@${DIGEST}`, `${REGISTRY}@${OTHER}`],
    [{ tag: '0.2.0', digest: OTHER }, `${REGISTRY}:0.1.0`, `${REGISTRY}@${OTHER}`],
    [{ repository: 'localhost:5000/mirror' }, `${REGISTRY}:0.1.0`, 'localhost:5000/mirror:0.1.0'],
    [{ repository: 'mirror/gateway' }, `${REGISTRY}@${DIGEST}`, `mirror/gateway@${DIGEST}`],
    [{ repository: 'mirror/gateway', tag: 'a' }, `${REGISTRY}@${DIGEST}`, 'mirror/gateway:a'],
  ])('merges %j over %s', (image, fallback, expected) => {
    expect(imageOf(gatewayWith(image === undefined ? {} : { image }), fallback)).toBe(expected);
  });
});
