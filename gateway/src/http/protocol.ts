/**
 * What `GET /protocol` answers: the contract of this version, for people who write another client or another
 * gateway, or who debug one. Kept beside the code that keeps it.
 */
export function protocolPage(options: { version: string; publicUrl: string }): string {
  const { version, publicUrl } = options;
  return `# Claude Gateway ${version}: protocol

Served by ${publicUrl}. Every path below is relative to it. Unknown parameters, headers and body fields are never an
error: they are ignored on the sign-in endpoints and passed on with inference.

## Sign-in

GET  /.well-known/oauth-authorization-server   RFC 8414 metadata; gateway_protocol_version is 1
POST /oauth/device_authorization               RFC 8628; form, may be empty; "surface" is recorded
GET  /device                                   where a person types or confirms the user code
POST /oauth/token                              grants below; no client authentication
POST /oauth/revoke                             RFC 7009; form with "token" (bearer or refresh token)

Grants of /oauth/token:
  urn:ietf:params:oauth:grant-type:device_code     400 authorization_pending | slow_down | access_denied | expired_token
                                                   (also for a code that is not known) until 200
  refresh_token                                    200 with a new refresh token; 401 invalid_grant: sign in again;
                                                   503 temporarily_unavailable: the identity provider is away, try later
  urn:ietf:params:oauth:grant-type:token-exchange  RFC 8693: an OIDC token of a CI platform or of Kubernetes, in
                                                   "subject_token", for a short-lived gateway token

A refresh token works once. For 30 seconds after its use it is taken again, for two processes that share it; later
use revokes the session.

## With a bearer token (Authorization: Bearer …)

POST /v1/messages                  Anthropic Messages API, streaming or not; bytes pass unchanged in both directions
POST /v1/messages/count_tokens     likewise
GET  /v1/models                    models that the caller may use; also takes the token in x-api-key
GET  /managed/settings             {uuid, checksum, settings}; checksum is "sha256:" and the hex digest of the settings'
                                   JSON with sorted keys and no white space, and, quoted, the ETag.
                                   304 answers If-None-Match; 404: no policy; 200 with {}: an empty policy
GET  /user/bootstrap               Claude Desktop's configuration; 404 unless the caller's policy has one
POST /v1/metrics /v1/logs /v1/traces   OTLP/HTTP, protobuf or JSON; always 200

## Errors

The OAuth endpoints answer {"error", "error_description"}. Everything else answers
{"type":"error","error":{"type","message"},"request_id"}; the request id is also in the header request-id.

400 invalid_request_error    body is not JSON, model missing, unknown or not allowed
401 authentication_error     sign in again (x-should-retry: false)
403 permission_error         not from this address, or not this person
404 not_found_error          nothing here
413 request_too_large        body over limits.max_request_bytes
429 rate_limit_error         the upstream is out of capacity; retry-after is passed on
501 not_supported            not available on this upstream (x-should-retry: false)
502 api_error                every upstream failed
529 overloaded_error         the upstream says it is overloaded

## People and probes

GET /            a page that says what this is
GET /healthz     200 while the process runs
GET /readyz      200 while this replica should get traffic; 503 while it drains. Not bound to Postgres: developers who
                 are signed in keep working while it is away
`;
}
