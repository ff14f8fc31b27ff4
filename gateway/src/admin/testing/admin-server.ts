import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import type { AdminConfig } from '@claude-gateway/contract';
import type { Store } from '@claude-gateway/prisma';
import { afterAll, beforeAll, beforeEach } from '@jest/globals';
import { createApp } from '../../http/app.ts';
import { setContext } from '../../http/context.ts';
import { unauthenticated } from '../../http/errors.ts';
import { createLog } from '../../observe/log.ts';
import type { Principal } from '../../principal.ts';
import { useStores } from '../../testing/stores.ts';
import type { AdminDependencies } from '../dependencies.ts';
import { createAdminRouter } from '../router.ts';
import { compileCaps } from './caps.ts';

const KEYS = {
  writer: 'a-key-of-at-least-thirty-two-characters-to-write',
  reader: 'a-key-of-at-least-thirty-two-characters-to-read',
} as const;

/** Everybody who can sign in, with their groups. */
export const PEOPLE = {
  alice: ['eng'],
  bob: ['contractors'],
  carol: ['platform-finops', 'eng'],
} as const;

export type Caller = keyof typeof KEYS | keyof typeof PEOPLE | 'nobody';

export const CONFIG: AdminConfig = {
  read_keys: [{ id: 'ro', key: KEYS.reader }],
  write_keys: [{ id: 'tf', key: KEYS.writer }],
  admin_groups: ['platform-finops'],
  audit_retention_days: 365,
  spend_retention_months: 13,
  identity_retention_days: 90,
  group_limit_mode: 'min',
};

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
  /** `data` of a list. */
  readonly data: readonly Readonly<Record<string, unknown>>[];
  /** `error.type` and `error.message` of a refusal. */
  readonly error: { readonly type?: string; readonly message?: string };
}

export interface CallOptions {
  /** Default: the writer. */
  readonly as?: Caller;
  /** A string as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface AdminServer {
  readonly store: Store;
  readonly url: string;
  /** What the audit stream got since the test began. */
  readonly audited: readonly (readonly [string, Record<string, unknown>])[];
  /** What time it is for the gateway. */
  now: Date;
  call(method: string, path: string, options?: CallOptions): Promise<Answered>;
}

/** The admin API on a real PostgreSQL, with bearer tokens that are people's names. */
export function useAdminServer(
  overrides: (store: Store) => Partial<AdminDependencies> = () => ({}),
): AdminServer {
  const stores = useStores();
  const audited: [string, Record<string, unknown>][] = [];
  let server: Server;
  let origin = '';
  const context = { now: new Date('2027-03-17T12:00:00.000Z') };

  beforeAll(async () => {
    const log = createLog('silent', new Writable({ write: (_chunk, _encoding, done) => done() }));
    const { store } = stores;
    const router = createAdminRouter({
      config: CONFIG,
      limits: store.limits,
      effective: store.effective,
      increaseRequests: store.increaseRequests,
      ledger: store.ledger,
      principals: store.usage,
      limitsInForce: () => Promise.resolve(),
      flushSeen: () => Promise.resolve(),
      compileCaps,
      authenticate: ({ authorization }) => personOf(authorization),
      audit: (event, fields) => audited.push([event, fields]),
      clock: () => context.now,
      ...overrides(store),
    });
    const app = createApp([router]);
    let requests = 0;
    server = createServer((request, response) => {
      const id = `req_${++requests}`;
      setContext(request, { id, clientAddress: '192.0.2.1', log, startedAt: 0 });
      response.setHeader('request-id', id);
      app(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server.close());
  beforeEach(() => void audited.splice(0));

  return {
    get store() {
      return stores.store;
    },
    get url() {
      return origin;
    },
    audited,
    get now() {
      return context.now;
    },
    set now(now: Date) {
      context.now = now;
    },
    async call(method, path, { as = 'writer', body, headers = {} } = {}) {
      const response = await fetch(`${origin}${path}`, {
        method,
        headers: { ...credentialsOf(as), ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      const json = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
      return {
        status: response.status,
        headers: response.headers,
        body: json,
        data: (json['data'] ?? []) as Answered['data'],
        error: json['error'] ?? {},
      };
    },
  };
}

function credentialsOf(as: Caller): Record<string, string> {
  if (as === 'nobody') return {};
  return as in PEOPLE ? { authorization: `Bearer ${as}` } : { 'x-api-key': KEYS[as as keyof typeof KEYS] };
}

function personOf(authorization: string | undefined): Principal {
  const name = authorization?.replace('Bearer ', '') ?? '';
  if (!(name in PEOPLE)) throw unauthenticated();
  const groups = PEOPLE[name as keyof typeof PEOPLE];
  return { sub: name, email: `${name}@corp.example`, name, groups, sid: 's', kind: 'user', expiresAt: 0 };
}
