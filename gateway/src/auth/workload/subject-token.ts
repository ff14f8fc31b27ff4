import type { WorkloadIdentityConfig } from '@claude-gateway/contract';
import { decodeJwt, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import type { FetchFunction } from '../../net/http-client.ts';
import { assertUrlAllowed } from '../../net/ssrf-guard.ts';
import { createIssuerKeys, KeysUnavailable } from './issuer-keys.ts';
import { UnusableClaim } from './principal-template.ts';
import { compileRules, type CompiledRule, type Workload } from './rules.ts';

/** Which check a workload's token failed; stable, for audit events and tests. */
export type SubjectTokenRefusal =
  | 'malformed'
  | 'unknown_issuer'
  | 'wrong_audience'
  | 'algorithm'
  | 'unknown_key'
  | 'signature'
  | 'expired'
  | 'not_yet_valid'
  | 'missing_claim'
  | 'no_rule'
  | 'unusable_claim';

/** A workload's token that opens nothing. `message` may be shown to whoever sent it. */
export class SubjectTokenRefused extends Error {
  override readonly name = 'SubjectTokenRefused';
  readonly reason: SubjectTokenRefusal;
  /** `iss` and `sub` once the signature was found good, for the audit. */
  readonly claims: { readonly iss?: string; readonly sub?: string };

  constructor(reason: SubjectTokenRefusal, message: string, payload?: JWTPayload) {
    super(message);
    this.reason = reason;
    this.claims = { ...(payload?.iss && { iss: payload.iss }), ...(payload?.sub && { sub: payload.sub }) };
  }
}

/** A workload that an issuer vouches for and a rule lets in. */
export interface AdmittedWorkload {
  readonly entry: string;
  readonly workload: Workload;
  readonly ttlSeconds: number;
  /** `sub` of its own token. */
  readonly subject: string;
}

export interface SubjectTokenDeps {
  /** A guarded `fetch` that trusts these certificates alone, or the system's when undefined. */
  readonly fetchFor: (caCertPem: string | undefined) => FetchFunction;
  readonly allowLoopback: boolean;
  readonly clock: () => Date;
}

interface Entry {
  readonly name: string;
  readonly issuer: string;
  readonly audiences: ReadonlySet<string>;
  readonly ttlSeconds: number;
  readonly rules: readonly CompiledRule[];
  readonly keys: JWTVerifyGetKey;
}

/** Asymmetric only (RFC 8725 §3.1): an issuer's public key is no secret to sign with. */
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

const CLOCK_TOLERANCE_SECONDS = 30;

/**
 * Judges the tokens of workloads.
 *
 * @returns A function that throws {@link SubjectTokenRefused}, or {@link KeysUnavailable}.
 * @throws Error naming the field of the configuration and the remedy.
 */
export function createSubjectTokenJudge(
  configs: readonly WorkloadIdentityConfig[],
  deps: SubjectTokenDeps,
): (token: string) => Promise<AdmittedWorkload> {
  const entries = configs.map((config, index) => compileEntry(config, `workload_identity[${index}]`, deps));
  const names = new Set(entries.map(({ name }) => name));
  if (names.size < entries.length) throw new Error('workload_identity: two entries have the same name');

  return async (token) => {
    const unverified = decode(token);
    const ofIssuer = entries.filter(({ issuer }) => issuer === unverified.iss);
    if (ofIssuer.length === 0) {
      throw new SubjectTokenRefused(
        'unknown_issuer',
        'Its issuer (iss) is not one that this gateway trusts.',
      );
    }
    const candidates = ofIssuer.filter(({ audiences }) =>
      audiencesOf(unverified).some((aud) => audiences.has(aud)),
    );
    let payload: JWTPayload | undefined;
    for (const entry of candidates) {
      payload = await verify(token, entry, deps.clock());
      const admitted = admit(entry, payload);
      if (admitted !== undefined) return admitted;
    }
    if (payload !== undefined) {
      throw new SubjectTokenRefused('no_rule', 'No rule of this gateway lets this workload in.', payload);
    }
    throw new SubjectTokenRefused(
      'wrong_audience',
      'Its audience (aud) is not the one that this gateway expects.',
    );
  };
}

function compileEntry(config: WorkloadIdentityConfig, path: string, deps: SubjectTokenDeps): Entry {
  const { allowLoopback, clock } = deps;
  assertUrlAllowed(config.issuer, { allowLoopback, field: `${path}.issuer` });
  if (config.jwks_url !== undefined)
    assertUrlAllowed(config.jwks_url, { allowLoopback, field: `${path}.jwks_url` });
  return {
    name: config.name,
    issuer: config.issuer,
    audiences: new Set(config.audience),
    ttlSeconds: config.token_ttl_minutes * 60,
    rules: compileRules(config, path),
    keys: createIssuerKeys({
      issuer: config.issuer,
      jwksUrl: config.jwks_url,
      fetch: deps.fetchFor(config.ca_cert_pem),
      clock,
    }),
  };
}

/** What the token claims to be: enough to choose who is asked for the keys, and nothing more. */
function decode(token: string): JWTPayload {
  try {
    return decodeJwt(token);
  } catch {
    throw new SubjectTokenRefused('malformed', 'It is not a JSON Web Token.');
  }
}

function audiencesOf({ aud }: JWTPayload): readonly string[] {
  return typeof aud === 'string' ? [aud] : Array.isArray(aud) ? aud : [];
}

async function verify(token: string, entry: Entry, currentDate: Date): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, entry.keys, {
      algorithms: ALGORITHMS,
      issuer: entry.issuer,
      audience: [...entry.audiences],
      requiredClaims: ['sub', 'exp', 'iat'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate,
    });
    return payload;
  } catch (error) {
    if (error instanceof KeysUnavailable) throw error;
    throw refusalOf(error);
  }
}

/** Anything that goes wrong in here was made wrong by the token, or by a key that cannot verify it. */
function refusalOf(error: unknown): SubjectTokenRefused {
  if (error instanceof errors.JWTExpired) {
    return new SubjectTokenRefused('expired', 'It has expired (exp).', error.payload);
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason, payload } = error;
    if (reason === 'missing') return new SubjectTokenRefused('missing_claim', `It has no ${claim}.`, payload);
    if (claim === 'nbf' || claim === 'iat') {
      return new SubjectTokenRefused('not_yet_valid', `It is not valid yet (${claim}).`, payload);
    }
    if (claim === 'aud') {
      return new SubjectTokenRefused(
        'wrong_audience',
        'Its audience (aud) is not the expected one.',
        payload,
      );
    }
    return new SubjectTokenRefused('malformed', `Its claim ${claim} is not usable.`, payload);
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) {
    return new SubjectTokenRefused(
      'algorithm',
      'It is not signed with an accepted asymmetric algorithm (alg).',
    );
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return new SubjectTokenRefused('unknown_key', 'It is not signed with one key of its issuer (kid).');
  }
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) {
    return new SubjectTokenRefused('malformed', 'It is not a JSON Web Token.');
  }
  return new SubjectTokenRefused('signature', 'Its signature does not hold.');
}

function admit(entry: Entry, payload: JWTPayload): AdmittedWorkload | undefined {
  const rule = entry.rules.find((candidate) => candidate.matches(payload));
  if (rule === undefined) return undefined;
  try {
    const workload = rule.workload(payload);
    return { entry: entry.name, workload, ttlSeconds: entry.ttlSeconds, subject: payload.sub ?? '' };
  } catch (error) {
    if (!(error instanceof UnusableClaim)) throw error;
    throw new SubjectTokenRefused('unusable_claim', `For a principal, ${error.message}.`, payload);
  }
}
