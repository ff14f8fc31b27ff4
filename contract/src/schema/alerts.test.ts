import { describe, expect, it } from '@jest/globals';
import { restartRequired } from '../restart-required.ts';
import { completeYaml, documentWith, ENV, load, problems } from '../testing/documents.ts';

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const webhook = (fields: Record<string, unknown> = {}) =>
  JSON.stringify({ name: 'pager', url: 'https://hook.example', secret: SECRET, ...fields });
const document = (...webhooks: string[]) =>
  documentWith({ admin: '{}', alerts: `{ webhooks: [${webhooks.join(', ')}] }` });

describe('alerts', () => {
  it('go nowhere by default', () => {
    expect(load(documentWith()).config.alerts).toEqual({ webhooks: [] });
  });

  it('have secrets from wherever, and several of them while they are rotated', () => {
    const [pager, chat] = load(completeYaml()).config.alerts.webhooks;
    expect(pager?.secret).toEqual([ENV['ALERTS_SECRET']]);
    expect(chat?.secret).toEqual([expect.stringMatching(/^whsec_/), ENV['ALERTS_SECRET']]);
  });

  it.each([
    ['a secret without its prefix', webhook({ secret: SECRET.slice(6) }), 'webhooks[0].secret'],
    ['a short secret', webhook({ secret: `whsec_${btoa('short')}` }), 'webhooks[0].secret'],
    ['a secret that is no base64', webhook({ secret: `whsec_${'-'.repeat(40)}` }), 'webhooks[0].secret'],
    ['no secret', webhook({ secret: undefined }), 'webhooks[0].secret'],
    ['an empty list of secrets', webhook({ secret: [] }), 'webhooks[0].secret'],
    ['another protocol', webhook({ url: 'ftp://hook.example' }), 'webhooks[0].url'],
    ['a metadata service', webhook({ url: 'http://169.254.169.254/' }), 'webhooks[0].url'],
    ['a loopback address', webhook({ url: 'http://127.0.0.1:8080' }), 'webhooks[0].url'],
    ['a name with a space', webhook({ name: 'my pager' }), 'webhooks[0].name'],
    ['a name twice', `${webhook()}, ${webhook()}`, 'webhooks[1].name'],
  ])('refuse %s, without showing the secret', (_, webhooks, path) => {
    const found = problems(document(webhooks));
    expect(found).toMatchObject([{ path: `alerts.${path}` }]);
    expect(JSON.stringify(found)).not.toContain(SECRET.slice(6));
  });

  it('need limits to be about', () => {
    expect(problems(documentWith({ alerts: `{ webhooks: [${webhook()}] }` }))).toMatchObject([
      { path: 'alerts.webhooks', message: expect.stringContaining('admin') },
    ]);
  });

  it('change without a restart, other than how long things are kept', () => {
    const before = load(document(webhook())).config;
    expect(restartRequired(before, load(document(webhook({ name: 'other' }))).config)).toEqual([]);
    const longer = load(
      documentWith({ admin: '{ audit_retention_days: 30, spend_retention_months: 2 }' }),
    ).config;
    expect(restartRequired(before, longer)).toEqual([
      'admin.audit_retention_days',
      'admin.spend_retention_months',
    ]);
  });
});
