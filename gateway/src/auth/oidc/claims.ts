import { compileGroupsPath } from '@claude-gateway/contract';

/** Claims of an ID token or of an answer of the UserInfo endpoint. */
export type Claims = Readonly<Record<string, unknown>>;

/** Looks one claim up; undefined when it is not there. */
export type ClaimReader = (claims: Claims) => unknown;

/**
 * Compiles a claim's name: a key (dots and all), or, with a leading slash, a JSON Pointer (RFC 6901) into nested
 * claims such as `/resource_access/gateway/roles`.
 */
export function compileClaim(name: string): ClaimReader {
  if (!name.startsWith('/')) return (claims) => own(claims, name);
  const tokens = name
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
  return (claims) => tokens.reduce<unknown>(own, claims);
}

/**
 * Compiles a JSONPath query for groups (RFC 9535). Each match is a group or a list of them; without a match the claim is
 * absent.
 *
 * @throws Error for what is no query; the configuration has been checked.
 */
export function compileGroupsQuery(query: string): ClaimReader {
  const find = compileGroupsPath(query);
  return (claims) => {
    const found = find(claims).flat();
    return found.length === 0 ? undefined : found;
  };
}

function own(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

/** The first of several claims that holds a non-empty text. */
export function readText(claims: Claims, readers: readonly ClaimReader[]): string | null {
  for (const read of readers) {
    const value = read(claims);
    if (typeof value === 'string' && value.trim() !== '') return value.trim();
  }
  return null;
}

/**
 * Group names exactly as the provider spells them, without repetitions; null when the claim is absent. A single text
 * is one group: names may hold spaces and commas (`CN=eng,OU=groups`).
 */
export function readGroups(claims: Claims, read: ClaimReader): readonly string[] | null {
  const value = read(claims);
  if (value === undefined || value === null) return null;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return [...new Set(list.filter((group): group is string => typeof group === 'string' && group !== ''))];
}

/**
 * Whether the provider says of the address anything else than that it is verified: `true`, or the text `"true"`, which
 * is how AWS Cognito says it. A provider that does not have the claim says nothing.
 */
export function isEmailUnverified(claims: Claims): boolean {
  if (!Object.hasOwn(claims, 'email_verified')) return false;
  const verified = claims['email_verified'];
  return verified !== true && verified !== 'true';
}

/**
 * Whether Entra left the groups out because there are too many for a token ("overage"), and refers to Graph instead:
 * https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim
 */
export function hasGroupOverage(claims: Claims): boolean {
  const elsewhere = claims['_claim_names'];
  return (
    claims['hasgroups'] === true ||
    claims['hasgroups'] === 'true' ||
    (typeof elsewhere === 'object' && elsewhere !== null && Object.hasOwn(elsewhere, 'groups'))
  );
}
