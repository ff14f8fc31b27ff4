/** Who calls. */
export type As = 'writer' | 'reader' | 'administrator' | 'member' | 'nobody' | 'stranger' | 'forger';

/** One call of the script that both gateways are given. */
export interface Call {
  /** Unique; what a difference is accepted by. */
  readonly name: string;
  readonly as: As;
  readonly method: 'GET' | 'POST' | 'DELETE' | 'PUT' | 'PATCH' | 'HEAD';
  /** `{name}` stands for the id or page that a call of that name was answered with. */
  readonly path: string;
  /** A string or bytes as they are, anything else as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
}

const LIMITS = '/v1/organizations/spend_limits';
const organization = { type: 'organization' };
const user = (user_id: unknown) => ({ type: 'user', user_id });
const group = (rbac_group_id: unknown) => ({ type: 'rbac_group', rbac_group_id });

const set = (name: string, body: unknown, as: As = 'writer', contentType?: string): Call => ({
  name,
  as,
  method: 'POST',
  path: LIMITS,
  body,
  ...(contentType === undefined ? {} : { contentType }),
});
const get = (name: string, path: string, as: As = 'reader'): Call => ({
  name,
  as,
  method: 'GET',
  path: `${LIMITS}${path}`,
});
const other = (
  name: string,
  method: Call['method'],
  path: string,
  as: As = 'writer',
  body?: unknown,
): Call => ({
  name,
  as,
  method,
  path: `${LIMITS}${path}`,
  ...(body === undefined ? {} : { body }),
});

const amounts: readonly (readonly [string, unknown])[] = [
  ['an exponent', '1e3'],
  ['a negative number', '-1'],
  ['a number instead of a string', 5],
  ['leading zeros', '007'],
  ['a fraction', '1.5'],
  ['white space', ' 5'],
  ['nothing', ''],
  ['true', true],
  ['a list', []],
  ['a plus sign', '+5'],
  ['hexadecimal', '0x10'],
  ['other digits', '٣'],
  ['twenty digits', '12345678901234567890'],
  ['the most that fits', '922337203685'],
];

/** Setting limits, before anybody has spent anything. */
export const SETTING: readonly Call[] = [
  get('empty list', ''),
  get('empty effective', '/effective'),
  get('empty trail', '/audit'),
  set('organization monthly', { scope: organization, amount: '50000', period: 'monthly' }),
  set('organization monthly again', {
    scope: organization,
    amount: '60000',
    period: 'monthly',
    reason: 'more',
  }),
  set('group daily', { scope: group('eng'), amount: '10000', period: 'daily' }),
  set('user weekly unlimited', { scope: user('alice'), amount: null, period: 'weekly' }),
  set('user by address', { scope: user('nobody@corp.example'), amount: '0', period: 'weekly' }),
  set('without a period', { scope: user('somebody'), amount: '1' }),
  set('currency USD and unknown fields', {
    scope: { ...user('cur'), extra: 1 },
    amount: '1',
    period: 'daily',
    currency: 'USD',
    unknown: 1,
    suppress_notification: true,
  }),
  ...amounts.map(([name, amount]) => set(`amount: ${name}`, { scope: user('amt'), amount, period: 'daily' })),
  set('no amount', { scope: organization, period: 'daily' }),
  set('unknown period', { scope: organization, amount: '1', period: 'yearly' }),
  set('period in capitals', { scope: organization, amount: '1', period: 'Daily' }),
  set('period null', { scope: organization, amount: '1', period: null }),
  set('no scope', { amount: '1', period: 'daily' }),
  set('scope is a string', { scope: 'organization', amount: '1' }),
  set('scope without a type', { scope: {}, amount: '1' }),
  set('scope of another type', { scope: { type: 'seat_tier', seat_tier: 'x' }, amount: '1' }),
  set('user without an id', { scope: { type: 'user' }, amount: '1' }),
  set('user with an empty id', { scope: user(''), amount: '1' }),
  set('user id is a number', { scope: user(5), amount: '1' }),
  set('group without an id', { scope: { type: 'rbac_group' }, amount: '1' }),
  set('user id with NUL', { scope: user('nul\0'), amount: '1' }),
  set('currency EUR', { scope: organization, amount: '1', currency: 'EUR' }),
  set('currency in small letters', { scope: organization, amount: '1', currency: 'usd' }),
  set('currency null', { scope: organization, amount: '1', currency: null }),
  set('broken JSON', '{"scope'),
  set('empty body', ''),
  set('body is a list', []),
  set('body is null', 'null'),
  set('body in another type', { scope: user('ct'), amount: '1', period: 'daily' }, 'writer', 'text/plain'),
  set('by an administrator', { scope: organization, amount: '12345', period: 'weekly' }, 'administrator'),
];

/** Reading them, who may, and taking some away. */
export const READING: readonly Call[] = [
  get('list', ''),
  get('list: first page', '?limit=2'),
  get('list: next page', '?limit=2&after_id={group daily}'),
  get('list: page before', '?limit=2&before_id={user by address}'),
  get('list: before the first', '?limit=2&before_id={organization monthly}'),
  get('list: after the last', '?limit=2&after_id={by an administrator}'),
  get('list: both edges', '?after_id={group daily}&before_id={user by address}'),
  get('list: after nobody', '?after_id=spl_00000000000000000000000000000000'),
  get('list: after nothing', '?after_id='),
  get('list: users only', '?scope_type=user'),
  get('list: unknown scope type', '?scope_type=seat_tier'),
  ...['0', '-1', '1001', 'abc', '', '1.5', '1e1', '01', '5%20', '1&limit=3'].map((limit) =>
    get(`list: limit=${limit}`, `?limit=${limit}`),
  ),
  get('list: unknown parameter', '?limit=1&unknown=1'),
  get('get one', '/{group daily}'),
  get('get none', '/spl_00000000000000000000000000000000'),
  get('get something else', '/foo'),
  get('get with NUL', '/x%00y'),
  get('get with a broken escape', '/%zz'),
  get('get below one', '/{group daily}/sub'),
  get('slash at the end', '/'),
  get('slash at the end of one', '/{group daily}/'),
  other('PUT on the list', 'PUT', '', 'writer', {}),
  other('PUT on one', 'PUT', '/{group daily}', 'writer', {}),
  other('PATCH on one', 'PATCH', '/{group daily}', 'writer', {}),
  other('POST on one', 'POST', '/{group daily}', 'writer', {}),
  other('DELETE on the list', 'DELETE', ''),
  other('HEAD on the list', 'HEAD', ''),
  other('POST on effective', 'POST', '/effective', 'writer', {}),
  other('DELETE on audit', 'DELETE', '/audit'),
  get('nobody', '', 'nobody'),
  get('a stranger', '', 'stranger'),
  get('a forger', '', 'forger'),
  get('a member', '', 'member'),
  get('an administrator', '?limit=1', 'administrator'),
  get('nobody asks for nothing', '/nope/x', 'nobody'),
  set('a reader writes', { scope: organization, amount: '1', period: 'daily' }, 'reader'),
  set('a reader writes nonsense', '{', 'reader'),
  set('a member writes', { scope: organization, amount: '1', period: 'daily' }, 'member'),
  set('nobody writes', { scope: organization, amount: '1', period: 'daily' }, 'nobody'),
  other('a reader deletes', 'DELETE', '/{group daily}', 'reader'),
  other('a reader puts', 'PUT', '', 'reader', {}),
  other('delete none', 'DELETE', '/spl_00000000000000000000000000000000'),
  other('delete', 'DELETE', '/{user by address}'),
  other('delete again', 'DELETE', '/{user by address}'),
  get('trail', '/audit?limit=1000'),
  get('trail: first page', '/audit?limit=2'),
  get('trail: next page', '/audit?limit=1&after_id={trail: first page}'),
  get('trail: limit', '/audit?limit=0'),
  get('trail: after nonsense', '/audit?after_id=abc'),
  get('trail: after nothing', '/audit?after_id='),
];

/** Pools beside the limit of a group. */
export const POOLS: readonly Call[] = [
  set('pool', { scope: group('pool'), amount: '5000', period: 'monthly', pooled_budget: { amount: '900' } }),
  set('pool is kept', { scope: group('pool'), amount: '6000', period: 'monthly' }),
  set('pool is kept by null', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: null,
  }),
  set('pool changes', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: { amount: '0', currency: 'USD' },
  }),
  set('pool without an amount', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: { amount: null },
  }),
  set('pool goes', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: { amount: null, paused: true },
  }),
  set('pool is a string', { scope: group('pool'), amount: '1', period: 'monthly', pooled_budget: '5' }),
  set('pool amount is a number', {
    scope: group('pool'),
    amount: '1',
    period: 'monthly',
    pooled_budget: { amount: 5 },
  }),
  set('pool of the organization', { scope: organization, amount: '1', pooled_budget: { amount: '5' } }),
  set('pool of a day', {
    scope: group('pool'),
    amount: '1',
    period: 'daily',
    pooled_budget: { amount: '5' },
  }),
  get('list: groups with pools', '?scope_type=rbac_group'),
  get('get one with a pool', '/{pool}'),
  other('delete one with a pool', 'DELETE', '/{pool}'),
];

const effective = (name: string, query: string): Call => get(`effective: ${name}`, `/effective${query}`);

/** Who spent what; after alice, bob and carol did. */
export const SPENDING: readonly Call[] = [
  effective('everybody', ''),
  effective('first page', '?limit=1'),
  effective('next page', '?limit=1&page={effective: first page}'),
  effective('one', '?user_ids[]=bob'),
  effective('several', '?user_ids[]=carol&user_ids[]=alice&user_ids[]=stranger&limit=1'),
  effective('one twice', '?user_ids[]=bob&user_ids[]=bob'),
  effective('escaped brackets', '?user_ids%5B%5D=bob'),
  effective('without brackets', '?user_ids=bob'),
  effective('an address', '?user_ids[]=alice@corp.example'),
  effective('a period', '?period[]=daily&user_ids[]=alice'),
  effective('two periods', '?period[]=monthly&period[]=daily&user_ids[]=alice'),
  effective('a period twice', '?period[]=daily&period[]=daily&user_ids[]=alice'),
  effective('a period without brackets', '?period=daily&user_ids[]=alice'),
  effective('unknown period', '?period[]=yearly'),
  effective('empty period', '?period[]='),
  effective('by spending', '?sort=spend_desc&period[]=daily'),
  effective('by spending, first page', '?sort=spend_desc&period[]=daily&limit=2'),
  effective(
    'by spending, next page',
    '?sort=spend_desc&period[]=daily&limit=2&page={effective: by spending, first page}',
  ),
  effective('by spending without a period', '?sort=spend_desc'),
  effective('by spending of two periods', '?sort=spend_desc&period[]=daily&period[]=weekly'),
  effective('by something else', '?sort=spend_asc&period[]=daily'),
  effective('search a subject', '?q=ALI&period[]=daily'),
  effective('search an address', '?q=corp.example&period[]=daily'),
  effective('search a name', '?q=BOB&period[]=daily'),
  effective('search nobody', '?q=zzz'),
  effective('search a wildcard', '?q=%25'),
  effective('search nothing', '?q=&period[]=daily'),
  effective('search something endless', `?q=${'x'.repeat(257)}`),
  effective('search among some', '?q=alice&user_ids[]=bob&period[]=daily'),
  effective('limit', '?limit=0'),
  effective('broken page', '?page=xyz'),
  effective('page of another question', '?page={effective: by spending, first page}'),
  effective('unknown parameter', '?user_ids[]=bob&period[]=daily&unknown=1'),
  effective('too many', `?${Array.from({ length: 101 }, (_, i) => `user_ids[]=u${i}`).join('&')}`),
  other('clean the organization up', 'DELETE', '/{organization monthly}'),
  effective('without a limit', '?user_ids[]=bob'),
  set('group unlimited', { scope: group('eng'), amount: null, period: 'monthly' }),
  set('another group', { scope: group('platform-finops'), amount: '700', period: 'monthly' }),
  effective('the tightest of two groups', '?user_ids[]=carol'),
  effective('an unlimited group', '?user_ids[]=alice'),
];

/** Last, since they leave the two in different states. */
export const DIVERGING: readonly Call[] = [
  set('amount: eighteen digits', { scope: user('amt'), amount: '922337203685477580', period: 'daily' }),
  set('amount: a trillion cents', { scope: user('amt'), amount: '1000000000000', period: 'daily' }),
  set('pool to pause', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: { amount: '5' },
  }),
  set(
    'user id in broken UTF-8',
    Buffer.from('{"scope":{"type":"user","user_id":"\xff"},"amount":"1"}', 'latin1'),
  ),
  set('reason is a number', { scope: user('cur'), amount: '1', period: 'daily', reason: 5 }),
  set('body beyond a mebibyte', { scope: user('big'), amount: '1', pad: 'x'.repeat(1_100_000) }),
  set('pool is paused', {
    scope: group('pool'),
    amount: '6000',
    period: 'monthly',
    pooled_budget: { paused: true },
  }),
  set('pool beside no limit per member', {
    scope: group('open pool'),
    amount: null,
    period: 'monthly',
    pooled_budget: { amount: '5' },
  }),
];
