import { createHash, timingSafeEqual } from 'node:crypto';
import type { RequestHandler, Request } from 'express';
import { contextOf } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';
import { loggedPath } from '../http/request-target.ts';
import type { Principal } from '../principal.ts';
import type { AdminDependencies } from './dependencies.ts';

/** Who calls the admin API. */
export interface AdminCaller {
  /** `admin-key:<id>` or `oidc:<sub>`: what the trail of changes says. */
  readonly actor: string;
  readonly access: 'read' | 'write';
  /** Whoever came with a sign-in of their own. */
  readonly principal?: Principal;
}

export interface AdminAuth {
  /** Lets in whoever may read. Refuses with 401. */
  readonly read: RequestHandler;
  /** Lets in whoever may write. Refuses with 401, or with 403 who may only read. */
  readonly write: RequestHandler;
  /** Whether this person administers by membership of one of `admin_groups`. */
  readonly isAdmin: (principal: Pick<Principal, 'groups'>) => boolean;
  /** Who calls, or undefined: no administrator. @throws ApiError 401 for a wrong key. */
  readonly identify: (request: Request) => Promise<AdminCaller | undefined>;
}

type Denial = 'no_credentials' | 'invalid_key' | 'bearer_rejected' | 'not_an_admin' | 'read_only';

const CALLER = Symbol('admin caller');
type WithCaller = Request & { [CALLER]?: AdminCaller };

/** The caller that {@link AdminAuth} let in. @throws Error when the route is not behind it. */
export function callerOf(request: Request): AdminCaller {
  const caller = (request as WithCaller)[CALLER];
  if (caller === undefined) throw new Error('route is not behind the admin authentication');
  return caller;
}

/**
 * Authentication of the admin API: a key in `x-api-key`, which decides alone when it is there, or the bearer token of
 * a member of one of `admin_groups`. Refusals leave an `admin.denied` event.
 */
export function createAdminAuth(
  dependencies: Pick<AdminDependencies, 'config' | 'authenticate' | 'audit'>,
): AdminAuth {
  const { config, authenticate, audit } = dependencies;
  const keys = [
    ...config.read_keys.map((key) => ({ ...key, access: 'read' as const })),
    ...config.write_keys.map((key) => ({ ...key, access: 'write' as const })),
  ].map(({ id, key, access }) => ({ digest: digestOf(key), caller: { actor: `admin-key:${id}`, access } }));
  const adminGroups = new Set(config.admin_groups);
  const isAdmin: AdminAuth['isAdmin'] = ({ groups }) => groups.some((group) => adminGroups.has(group));

  const ofKey = (key: string): AdminCaller | undefined => {
    const digest = digestOf(key);
    let found: AdminCaller | undefined;
    // All of them, always: how long it takes says nothing about which one is right.
    for (const candidate of keys) if (timingSafeEqual(candidate.digest, digest)) found = candidate.caller;
    return found;
  };

  const find = async (request: Request): Promise<AdminCaller | Denial> => {
    const key = request.headers['x-api-key'];
    if (typeof key === 'string' && key !== '') return ofKey(key) ?? 'invalid_key';
    if (request.headers.authorization === undefined) return 'no_credentials';
    let principal: Principal;
    try {
      principal = await authenticate(request.headers, contextOf(request));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return 'bearer_rejected';
      throw error;
    }
    if (!isAdmin(principal)) return 'not_an_admin';
    return { actor: `oidc:${principal.sub}`, access: 'write', principal };
  };

  const guard =
    (wanted: 'read' | 'write'): RequestHandler =>
    async (request, _response, next) => {
      const caller = (request as WithCaller)[CALLER] ?? (await find(request));
      if (typeof caller === 'string') throw refused(request, caller);
      if (wanted === 'write' && caller.access === 'read') {
        deny(request, 'read_only', caller.actor);
        throw new ApiError('permission_error', 'This key may only read: write:spend_limits is required.');
      }
      (request as WithCaller)[CALLER] = caller;
      next();
    };

  const deny = (request: Request, reason: Denial, actor?: string): void => {
    const { id, clientAddress } = contextOf(request);
    audit('admin.denied', {
      request_id: id,
      reason,
      ...(actor === undefined ? {} : { actor }),
      method: request.method,
      path: loggedPath(request.originalUrl),
      client_ip: clientAddress,
    });
  };

  const refused = (request: Request, reason: Denial): ApiError => {
    deny(request, reason);
    return new ApiError('authentication_error', 'Missing or invalid admin credentials.');
  };

  return {
    read: guard('read'),
    write: guard('write'),
    isAdmin,
    identify: async (request) => {
      const caller = await find(request);
      if (caller === 'invalid_key') throw refused(request, caller);
      if (typeof caller === 'string') return undefined;
      (request as WithCaller)[CALLER] = caller;
      return caller;
    },
  };
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
