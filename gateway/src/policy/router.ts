import type { IncomingHttpHeaders } from 'node:http';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import { contextOf, type RequestContext } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';
import type { Audit } from '../observe/audit.ts';
import type { Principal } from '../principal.ts';
import type { Policy } from './policy.ts';
import type { PolicyOrigin } from './source.ts';

/**
 * The release of the reference gateway whose protocol this one speaks, sent as `x-cc-gateway-version` with managed
 * settings. Claude Desktop trusts a 404 there to mean "nothing for this session" only if it carries this header and
 * `cache-control: no-store`.
 */
export const GATEWAY_PROTOCOL_VERSION = '2.1.330';

/** What the endpoints of this room need from the rest. */
export interface PolicyRouterDependencies {
  /** @throws ApiError 401 when the caller is not signed in. */
  readonly authenticate: (
    headers: IncomingHttpHeaders,
    context: RequestContext,
    options: { readonly allowApiKey: boolean },
  ) => Principal | Promise<Principal>;
  readonly policy: Policy;
  readonly audit: Audit;
  readonly clock?: () => Date;
  /** Whether the person may administer spend limits: Claude Desktop shows them more. Default: nobody. */
  readonly isSpendAdmin?: (principal: Principal) => boolean;
  /**
   * Told of everybody who asked for managed settings, and which policies of resources are in the answer; none when there
   * is nothing for them. Must not throw.
   */
  readonly onSettingsFetched?: (principal: Principal, origins: readonly PolicyOrigin[]) => void;
}

/** `GET /v1/models`, `/v1/models/{id}`, `/managed/settings` and `/user/bootstrap`. */
export function createPolicyRouter(dependencies: PolicyRouterDependencies): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const endpoint = (path: string, allowApiKey: boolean, answer: Answer): void => {
    const handler: RequestHandler = async (request, response) => {
      const principal = await dependencies.authenticate(request.headers, contextOf(request), { allowApiKey });
      answer(request, response, principal);
    };
    router.route(path).get(handler).all(methodNotAllowed);
  };
  endpoint('/v1/models', true, (request, response, principal) => {
    const list = dependencies.policy.listModels(principal, request.query);
    response.set(PRIVATE).json(list);
  });
  endpoint('/v1/models/:id', true, (request, response, principal) => {
    const id = String(request.params['id']);
    const model = dependencies.policy.findModel(principal, id);
    if (model === undefined) throw new ApiError('not_found_error', 'There is no such model for you here.');
    response.set(PRIVATE).json(model);
  });
  endpoint('/managed/settings', false, (request, response, principal) =>
    answerSettings(dependencies, request, response, principal),
  );
  endpoint('/user/bootstrap', false, (request, response, principal) =>
    answerBootstrap(dependencies, request, response, principal),
  );
  return router;
}

type Answer = (request: Request, response: Response, principal: Principal) => void;

/** One person's answer: no shared cache may keep it. Deliberately without `no-store`, see answerSettings. */
const PRIVATE = { 'cache-control': 'private, no-cache' } as const;
const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const;

/**
 * Serves managed settings. `no-store` together with the version header has a meaning for Claude Desktop: a 404 with both
 * says that there is nothing for the session, which is what our 404 means. A 304 with both would forbid the session to
 * start, which is never meant; so 200 and 304 go without `no-store`.
 */
function answerSettings(
  { policy, audit, onSettingsFetched }: PolicyRouterDependencies,
  request: Request,
  response: Response,
  principal: Principal,
): void {
  const shared = { vary: 'user-agent', 'x-cc-gateway-version': GATEWAY_PROTOCOL_VERSION };
  const { id, log } = contextOf(request);
  const answer = policy.settingsFor(principal, runsInsideDesktop(request.headers['user-agent']));
  if (answer.state !== 'served') {
    if (answer.state === 'no_policy') onSettingsFetched?.(principal, []);
    log.info(
      { request_id: id, sub: principal.sub, reason: answer.state },
      'no managed settings for this session',
    );
    throw new ApiError('not_found_error', SETTINGS_REFUSALS[answer.state], {
      headers: { ...shared, ...NO_STORE },
    });
  }
  const { document } = answer;
  onSettingsFetched?.(principal, answer.origins);
  response.set({ ...shared, ...PRIVATE, etag: document.etag });
  if (namesEtag(request.headers['if-none-match'], document.etag)) {
    response.status(304).end();
    return;
  }
  audit('managed.serve', {
    request_id: id,
    sub: principal.sub,
    email: principal.email,
    ...auditedPolicies(answer),
    checksum: document.checksum,
  });
  response.type('json').send(document.body);
}

const SETTINGS_REFUSALS = {
  no_policy: 'No managed policy of this gateway applies to you.',
  not_for_desktop: 'The policy that applies to you is not for sessions inside Claude Desktop.',
} as const;

function answerBootstrap(
  { policy, audit, clock = () => new Date(), isSpendAdmin = () => false }: PolicyRouterDependencies,
  request: Request,
  response: Response,
  principal: Principal,
): void {
  const { id } = contextOf(request);
  const who = { request_id: id, sub: principal.sub, email: principal.email };
  const answer = policy.bootstrapFor(principal, clock());
  if (answer.state !== 'served') {
    audit('desktop_bootstrap.denied', { ...who, reason: answer.state });
    throw new ApiError('not_found_error', BOOTSTRAP_REFUSALS[answer.state], { headers: NO_STORE });
  }
  audit('desktop_bootstrap.serve', { ...who, ...auditedPolicies(answer) });
  response.set({ ...NO_STORE, 'x-gateway-spend-admin': String(isSpendAdmin(principal)) }).json(answer.body);
}

const BOOTSTRAP_REFUSALS = {
  not_configured: 'This gateway does not serve Claude Desktop: no managed policy has a desktop block.',
  not_opted_in: 'The policy that applies to you does not include Claude Desktop: it has no desktop block.',
} as const;

/** `policy_index` is the most specific policy; the others follow when there is more to tell. */
function auditedPolicies({
  indexes,
  origins,
}: {
  readonly indexes: readonly number[];
  readonly origins: readonly PolicyOrigin[];
}): Record<string, unknown> {
  return {
    policy_index: indexes[0] ?? null,
    ...(indexes.length > 1 && { policy_indexes: indexes }),
    ...(origins.length > 0 && { policies: origins.map(({ label }) => label) }),
  };
}

/** Entry points, in the parentheses of Claude Code's user agent, of sessions that Claude Desktop hosts. */
const DESKTOP_ENTRY_POINTS: ReadonlySet<string> = new Set([
  'claude-desktop',
  'claude-desktop-3p',
  'local-agent',
]);

function runsInsideDesktop(userAgent: string | undefined): boolean {
  const comment = userAgent === undefined ? null : /\(([^()]*)\)/.exec(userAgent);
  return comment?.[1]?.split(',').some((part) => DESKTOP_ENTRY_POINTS.has(part.trim())) ?? false;
}

/**
 * Whether `If-None-Match` names this entity tag, by weak comparison (RFC 9110 §13.1.2). `*` does not count: Claude
 * Desktop asks with it whether there are settings at all and expects the answer that it would get without it.
 */
function namesEtag(header: string | undefined, etag: string): boolean {
  return header?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag) ?? false;
}

const methodNotAllowed: RequestHandler = (request) => {
  throw new ApiError('invalid_request_error', `${request.method} is not possible here.`, {
    status: 405,
    headers: { allow: 'GET, HEAD' },
  });
};
