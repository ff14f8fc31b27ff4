import { expect, it } from '@jest/globals';
import { restartRequired, restartValues } from './restart-required.ts';
import { completeYaml, documentWith, load } from './testing/documents.ts';

const config = (sections: Record<string, string> = {}) => load(documentWith(sections)).config;
const tls = (directory: string) => ({
  listen: `{ host: 127.0.0.1, tls: { cert: ${directory}/c, key: ${directory}/k } }`,
});

it('names what a reload cannot apply', () => {
  const after = config({
    listen: '{ host: "::1", port: 1, tls: { cert: c, key: k } }',
    store: '{ postgres_url: postgres://other/x, password: p, max_connections: 9 }',
    metrics: '{}',
    limits: '{ max_request_header_bytes: 1000, max_request_bytes: 1000 }',
  });
  expect(restartRequired(config(), after)).toEqual([
    'listen.host',
    'listen.port',
    'listen.tls',
    'store.postgres_url',
    'store.max_connections',
    'metrics',
    'limits.max_request_header_bytes',
  ]);
});

it('names nothing when nothing differs, or only what is applied live', () => {
  expect(restartRequired(load(completeYaml()).config, load(completeYaml()).config)).toEqual([]);
  expect(restartRequired(config(tls('/a')), config(tls('/b')))).toEqual([]);
  const live = config({
    listen: '{ host: 127.0.0.1, public_url: "https://a.example", trusted_proxies: [10.0.0.0/8] }',
    oidc: '{ issuer: https://other.example, client_id: g, client_secret: s }',
    session: '{ jwt_secret: fedcba9876543210fedcba9876543210, ttl_hours: 2 }',
    upstreams: '[{ provider: anthropic, auth: { api_key: other } }]',
    managed: '{ policies: [{ cli: {} }] }',
    limits: '{ max_request_bytes: 1 }',
  });
  expect(restartRequired(config(), live)).toEqual([]);
});

it('takes a user and a password for no other database', () => {
  const store = (text: string) => config({ store: text });
  const before = store('{ postgres_url: "postgres://ada:old@db:5432/x?sslmode=require" }');
  for (const same of [
    '{ postgres_url: "postgres://ada:new@db:5432/x?sslmode=require" }',
    '{ postgres_url: "postgres://db:5432/x?sslmode=require", username: eve, password: "new" }',
    '{ postgres_url: "postgres://db:5432/x?sslmode=require&user=eve&password=new" }',
  ]) {
    expect(restartRequired(before, store(same))).toEqual([]);
  }
  for (const other of [
    '{ postgres_url: "postgres://ada:old@db2:5432/x?sslmode=require" }',
    '{ postgres_url: "postgres://ada:old@db:5432/y?sslmode=require" }',
    '{ postgres_url: "postgres://ada:old@db:5432/x" }',
  ]) {
    expect(restartRequired(before, store(other))).toEqual(['store.postgres_url']);
  }
  const unnamed = ['{ postgres_url: "postgres://ada@db" }', '{ postgres_url: "postgres://eve@db" }'].map(
    store,
  );
  expect(restartRequired(unnamed[0]!, unnamed[1]!)).toEqual(['store.postgres_url']);
});

it('hands out what it compares', () => {
  const values = restartValues(config({ store: '{ postgres_url: postgres://db/x, password: p }' }));
  expect(values).toMatchObject({ 'store.max_connections': 5, 'listen.tls': false });
  expect(JSON.stringify(values)).not.toContain('"p"');
});
