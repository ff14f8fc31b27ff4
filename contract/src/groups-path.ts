import { compile } from 'json-p3';

/** What a compiled path finds in claims: values in the order of the document; none when nothing matches. */
export type GroupsPath = (claims: Readonly<Record<string, unknown>>) => unknown[];

/**
 * Compiles `oidc.groups_jsonpath`: a JSONPath query (RFC 9535) into the claims of a token, such as
 * `$.resource_access[*].roles[*]` or `$.memberships[?@.kind=='team'].name`.
 *
 * @throws Error that says what is wrong with the query.
 */
export function compileGroupsPath(query: string): GroupsPath {
  const compiled = compile(query);
  return (claims) => compiled.query(claims as Parameters<typeof compiled.query>[0]).values();
}
