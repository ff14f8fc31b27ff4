/** The paths of Anthropic's Admin API that this gateway serves. */
export const LIMITS_PATH = '/v1/organizations/spend_limits';
export const INCREASE_REQUESTS_PATH = '/v1/organizations/spend_limit_increase_requests';
/** Ours. */
export const USAGE_PATH = '/v1/organizations/usage';
