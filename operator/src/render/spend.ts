import { Part, type Content } from './document.ts';
import { entriesOf } from './field.ts';
import { secretOf, seconds, type SpecField } from './parts.ts';

export function admin(spec: SpecField): Content {
  const field = spec.at('admin');
  const pools = spec.at('spend').at('pools');
  const keys = (access: 'Read' | 'Write'): Content =>
    entriesOf(field.at('keys'))
      .filter(({ value }) => value.access === access)
      .map((key) => new Part(key, { id: key.at('name'), key: secretOf(key.at('secretRef')) }));
  return new Part(field, {
    read_keys: keys('Read'),
    write_keys: keys('Write'),
    admin_groups: field.at('groups'),
    blocked_message: spec.at('spend').at('blockedMessage'),
    audit_retention_days: spec.at('retention').at('auditDays'),
    spend_retention_months: spec.at('retention').at('spendMonths'),
    identity_retention_days: spec.at('retention').at('identityDays'),
    group_limit_mode: spec
      .at('spend')
      .at('groupLimitMode')
      .as((mode) => ({ Tightest: 'min', Widest: 'max' })[mode]),
    pooled_conflict_rule: pools.at('priorityOrder').as(() => 'priority_list'),
    pooled_priority_order: pools.at('priorityOrder'),
    billing_group_tag: pools.at('billingGroupTag'),
  });
}

export function enforcement(spec: SpecField): Content {
  const field = spec.at('spend');
  return new Part(field, {
    fail_closed_on_error: field.at('failurePolicy').as((policy) => policy === 'Closed'),
    min_output_tokens: field.at('minOutputTokens'),
    max_wait_ms: seconds(field.at('maxWait')).as((length) => length * 1000),
    abandoned_read_ms: seconds(field.at('abandonedRead')).as((length) => length * 1000),
    warn_at_percent: field
      .at('warnAtPercent')
      .as((percents) => percents.toSorted((one, other) => one - other)),
  });
}

export const pricing = (spec: SpecField): Content =>
  spec.at('pricing').whenSet(
    (field) =>
      new Part(field, {
        multiplier: field.at('multiplier').as(Number),
        overrides: field.at('overrides').whenSet((list) =>
          entriesOf(list).map(
            (price) =>
              new Part(price, {
                upstream: price.at('upstream'),
                model: price.at('model'),
                input: price.at('input').as(Number),
                output: price.at('output').as(Number),
                cache_read: price.at('cacheRead').as(Number),
                cache_write: price.at('cacheWrite').as(Number),
              }),
          ),
        ),
      }),
  );

export const alerts = (spec: SpecField): Content =>
  spec
    .at('spend')
    .at('webhooks')
    .whenSet((list) => ({
      webhooks: entriesOf(list).map(
        (webhook) =>
          new Part(webhook, {
            name: webhook.at('name'),
            url: secretOf(webhook.at('urlSecretRef')) ?? webhook.at('url'),
            secret: entriesOf(webhook.at('signingSecretRefs')).map(secretOf),
          }),
      ),
    }));
