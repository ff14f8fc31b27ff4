/** What a request is for: few enough to be a label. */
export type Route =
  | 'messages'
  | 'count_tokens'
  | 'models'
  | 'settings'
  | 'usage'
  | 'telemetry'
  | 'admin'
  | 'sign_in'
  | 'token'
  | 'discovery'
  | 'probe'
  | 'other';

const EXACT = new Map<string, Route>([
  ['/v1/messages', 'messages'],
  ['/v1/messages/count_tokens', 'count_tokens'],
  ['/v1/models', 'models'],
  ['/managed/settings', 'settings'],
  ['/user/bootstrap', 'settings'],
  ['/api/oauth/usage', 'usage'],
  ['/v1/metrics', 'telemetry'],
  ['/v1/logs', 'telemetry'],
  ['/v1/traces', 'telemetry'],
  ['/oauth/device_authorization', 'sign_in'],
  ['/device', 'sign_in'],
  ['/device/deny', 'sign_in'],
  ['/device/signed-in', 'sign_in'],
  ['/oauth/callback', 'sign_in'],
  ['/oauth/token', 'token'],
  ['/oauth/revoke', 'token'],
  ['/.well-known/oauth-authorization-server', 'discovery'],
  ['/protocol', 'discovery'],
  ['/', 'discovery'],
  ['/healthz', 'probe'],
  ['/readyz', 'probe'],
]);

/** @param path Without its query. Whatever people invent is `other`. */
export function routeOf(path: string): Route {
  const exact = EXACT.get(path);
  if (exact !== undefined) return exact;
  if (path.startsWith('/v1/organizations/')) return 'admin';
  if (path.startsWith('/v1/models/')) return 'models';
  return 'other';
}
