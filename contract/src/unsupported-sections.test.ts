import { describe, expect, it } from '@jest/globals';
import { documentWith, load } from './testing/documents.ts';
import { unsupportedSections } from './unsupported-sections.ts';

const unsupported = (sections: Record<string, string>) =>
  unsupportedSections(load(documentWith(sections)).config);
const anthropic = (more: string) => `[{ provider: anthropic, auth: { api_key: k }, ${more} }]`;

describe('unsupportedSections', () => {
  it.each([
    [
      {
        listen: '{ public_url: "https://a.example" }',
        telemetry: '{ forward_to: [{ url: "https://otel.example" }] }',
      },
      ['telemetry.forward_to'],
    ],
    [{ load_test_mode: '{ enabled: true }' }, ['load_test_mode']],
    [{ cri: '{ enabled: true, audience: [a], org_allowlist: [b] }' }, ['cri']],
    [{ managed: '{ settings: /x }' }, ['managed.settings']],
    [{ upstreams: '[{ provider: vertex, region: global, project_id: p }]' }, ['upstreams[0].provider']],
    [{ upstreams: anthropic('groups: [a]') }, ['upstreams[0].groups']],
    [{ upstreams: anthropic('models: [a]') }, ['upstreams[0].models']],
    [
      { upstreams: anthropic('forward_user_identity: true, base_url: "https://own.example"') },
      ['upstreams[0].forward_user_identity'],
    ],
  ])('%j', (sections, paths) => {
    const problems = unsupported(sections);
    expect(problems.map(({ path }) => path)).toEqual(paths);
    for (const { message } of problems) expect(message).toMatch(/not built into this version; remove it/);
  });

  it('lets pass what is built, or switched off', () => {
    expect(
      unsupported({
        load_test_mode: '{ enabled: false }',
        cri: '{ enabled: false }',
        admin: '{}',
        enforcement: '{ fail_closed_on_error: true }',
        pricing: '{ multiplier: 0.85 }',
        telemetry: '{ forward_to: [] }',
        upstreams: anthropic('name: a, headers: { x-team: b }, forward_user_identity: false'),
        managed: '{ policy_mode: layered, policies: [{ code: {}, desktop: {}, serve_to_desktop: true }] }',
        models: '[{ id: m, upstream_model: { a: m } }]',
        oidc: '[{ name: a, issuer: https://i.example, client_id: g, client_secret: s }]',
      }),
    ).toEqual([]);
  });
});
