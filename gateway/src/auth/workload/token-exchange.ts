import { randomUUID } from 'node:crypto';
import type { WorkloadIdentityConfig } from '@claude-gateway/contract';
import type { SessionStore } from '@claude-gateway/prisma';
import type { RequestContext } from '../../http/context.ts';
import { OAuthError } from '../../http/errors.ts';
import { createAgent, createFetch, type FetchFunction, type ProxyOptions } from '../../net/http-client.ts';
import type { Audit } from '../../observe/audit.ts';
import type { Log } from '../../observe/log.ts';
import { tokenResponse, tokenTooLarge, tryAgain, type Grant } from '../session/grant.ts';
import type { OAuthForm } from '../session/oauth-form.ts';
import { TokenTooLarge, type Tokens } from '../session/tokens.ts';
import { KeysUnavailable } from './issuer-keys.ts';
import { createSubjectTokenJudge, SubjectTokenRefused, type AdmittedWorkload } from './subject-token.ts';

export interface TokenExchangeDeps {
  /** `workload_identity`. */
  readonly config: readonly WorkloadIdentityConfig[];
  readonly sessions: Pick<SessionStore, 'create'>;
  readonly tokens: Tokens;
  readonly audit: Audit;
  readonly clock: () => Date;
  readonly log: Log;
  readonly allowLoopback: boolean;
  readonly proxy?: ProxyOptions;
}

/** A discovery document or a set of keys is some kilobytes. */
const MAX_KEYS_BYTES = 1024 * 1024;

const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const SUBJECT_TOKEN_TYPES = new Set([JWT_TYPE, 'urn:ietf:params:oauth:token-type:id_token']);
const REQUESTED_TOKEN_TYPES = new Set([ACCESS_TOKEN_TYPE, JWT_TYPE]);

/**
 * Token exchange (RFC 8693): CI without a browser. A job sends the token that its platform gave it and gets one of
 * this gateway. It lives for `token_ttl_minutes`, at most as long as a person's; there is no refresh token, as a job
 * can always ask its platform for a new one. The session is kept, so that it can be listed and revoked.
 *
 * The principal's `sub` is `workload:<entry name>:<rendered principal>`: see `rules.ts`, docs/adr/0012.
 *
 * @throws Error naming the field of the configuration and the remedy.
 */
export function createTokenExchange(deps: TokenExchangeDeps): Grant {
  const judge = createSubjectTokenJudge(deps.config, {
    clock: deps.clock,
    allowLoopback: deps.allowLoopback,
    fetchFor: (caCertPem) => guardedFetch(deps, caCertPem),
  });
  for (const { name, token_ttl_minutes: minutes } of deps.config) {
    if (minutes * 60 <= deps.tokens.ttlSeconds) continue;
    deps.log.warn(
      { workload_identity: name },
      'token_ttl_minutes is longer than session.ttl_hours, which limits it',
    );
  }

  return async (form, context) => {
    const token = subjectTokenOf(form);
    let admitted: AdmittedWorkload;
    try {
      admitted = await judge(token);
    } catch (error) {
      throw answerTo(error, deps.audit, context);
    }

    const { entry, workload, ttlSeconds, subject } = admitted;
    const { sub, name, email, groups } = workload;
    const id = randomUUID();
    const holder = {
      sub,
      name,
      groups,
      sid: id,
      kind: 'workload' as const,
      ...(email === null ? {} : { email }),
    };
    const minted = await deps.tokens.mint(holder, ttlSeconds).catch((error: unknown) => {
      throw error instanceof TokenTooLarge ? tokenTooLarge(error, context) : error;
    });
    await deps.sessions.create({
      id,
      identity: { sub, provider: `workload:${entry}`, email, name, groups },
      refreshTokenHash: null,
      idpRefreshTokenSealed: null,
      now: deps.clock(),
    });
    deps.audit('session.exchange', {
      request_id: context.id,
      result: 'success',
      sub,
      email,
      session_id: id,
      workload_identity: entry,
      subject,
      client_ip: context.clientAddress,
      ttl_hours: minted.expiresInSeconds / 3600,
    });
    return { ...tokenResponse(minted), issued_token_type: ACCESS_TOKEN_TYPE };
  };
}

function guardedFetch(deps: TokenExchangeDeps, caPem: string | undefined): FetchFunction {
  const agent = createAgent({
    allowLoopback: deps.allowLoopback,
    maxResponseBytes: MAX_KEYS_BYTES,
    ...(caPem === undefined ? {} : { caPem }),
    ...(deps.proxy === undefined ? {} : { proxy: deps.proxy }),
  });
  return createFetch(agent);
}

function subjectTokenOf(form: OAuthForm): string {
  const token = form.require('subject_token');
  if (!SUBJECT_TOKEN_TYPES.has(form.require('subject_token_type'))) {
    const known = [...SUBJECT_TOKEN_TYPES].join(' or ');
    throw new OAuthError('invalid_request', `subject_token_type must be ${known}.`);
  }
  const requested = form.get('requested_token_type');
  if (requested !== undefined && !REQUESTED_TOKEN_TYPES.has(requested)) {
    throw new OAuthError('invalid_request', `requested_token_type must be ${ACCESS_TOKEN_TYPE} or absent.`);
  }
  if (form.get('actor_token') !== undefined) {
    throw new OAuthError('invalid_request', 'actor_token: a workload cannot act for somebody else here.');
  }
  return token;
}

/** A subject token that is not accepted is an `invalid_request` (RFC 8693 §2.2.2). */
function answerTo(error: unknown, audit: Audit, context: RequestContext): unknown {
  const common = { request_id: context.id, client_ip: context.clientAddress };
  if (error instanceof SubjectTokenRefused) {
    const { reason, claims } = error;
    audit('session.exchange', {
      ...common,
      result: 'denied',
      reason,
      issuer: claims.iss,
      subject: claims.sub,
    });
    return new OAuthError('invalid_request', `The subject_token was not accepted. ${error.message}`);
  }
  if (error instanceof KeysUnavailable) {
    context.log.warn({ request_id: context.id, detail: error.detail }, error.message);
    audit('session.exchange', { ...common, result: 'unavailable', reason: 'issuer_keys' });
    return tryAgain("The subject_token's issuer is not answering with its keys; try again.", 10, error);
  }
  return error;
}
