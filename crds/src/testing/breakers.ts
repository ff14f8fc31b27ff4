type Breaker = (value: unknown) => unknown;

const text = (...values: string[]): Breaker[] => values.map((value) => () => value);
const set =
  (change: Readonly<Record<string, unknown>>): Breaker =>
  (value) => ({ ...(value as object), ...change });
const unset =
  (...names: string[]): Breaker =>
  (value) =>
    Object.fromEntries(Object.entries(value as object).filter(([name]) => !names.includes(name)));
const within =
  (name: string, breaks: Breaker): Breaker =>
  (value) =>
    set({ [name]: breaks((value as Record<string, unknown>)[name]) })(value);

const REF = { name: 'claude', key: 'other' };
const KEYS = { accessKeyIDSecretRef: REF, secretAccessKeySecretRef: REF };
const POD_IDENTITY = "The pod's own identity is used when no credential is set.";

const duration = (min: string, max: string, ...outside: string[]) => [
  `write a duration in hours, minutes and seconds, such as 1h, 15m or 1h30m, from ${min} to ${max}`,
  text('soon', '1.5h', '10ms', '-1h', ...outside),
];
const decimal = (max: number, above: string) => [
  `write a decimal in quotes, such as "0.85", above 0 and at most ${max}`,
  text('0', '-1', '1e3', '.5', '1,5', above),
];

/** How to break each rule, by its message: what makes a valid value of its place an invalid one. */
export const BREAKERS: Readonly<Record<string, readonly Breaker[] | undefined>> = {
  // Texts.
  'use the name of an object: lower-case letters, digits, hyphens and dots, with a letter or digit at both ends':
    text('Main', '-main', 'main.', 'a/b'),
  'use lower-case letters, digits and hyphens, with a letter or digit at both ends': text(
    'Main',
    'a-',
    'a.b',
  ),
  'use a key of the data: letters, digits, dots, hyphens and underscores': text('a/b', 'a b'),
  'write an absolute URL that begins with https:// or http://, without credentials and fragment': text(
    'claude.corp.example', 'ftp://corp.example', 'https://', 'https://me:secret@corp.example', 'https://corp.example/#a',
  ), // prettier-ignore
  'write an https:// URL; http:// is for a collector in the same pod (localhost) only': text(
    'http://otel.corp.example', 'http://localhost.corp.example', 'https://a@corp.example', 'otel:4318',
  ), // prettier-ignore
  'write an IP address, or a network in CIDR notation such as 10.0.0.0/8': text(
    '10.0.0.0/33',
    '10.0.0',
    'corp.example',
  ),
  'use a header name of RFC 9110: letters, digits and hyphens, no spaces and no colon': text(
    'X Team',
    'X-Team:',
  ),
  'use printable ASCII, without space at either end': text(' a', 'a ', 'ä', 'a\nb'),
  'use printable ASCII without spaces': text('a b', 'ä'),
  'write an IANA time zone, such as Europe/Berlin': text('Europe/Berlim', '+02:00'),
  'name an image without tag and digest; those are fields of their own': text(
    'Corp/gateway',
    'gateway@sha256',
    'gateway:',
  ),
  'use a tag, such as 0.1.0': text('-1', 'a/b', 'a:b'),
  'write sha256: and 64 hexadecimal digits': text('sha256:abc', `sha512:${'0'.repeat(64)}`),
  'write a host name in lower case, without scheme, port and path': text(
    'https://corp.example',
    'corp.example:443',
    'Corp.example',
  ),
  'write a time such as 30s or 1m': text('30', '1h', 'often'),
  'write one bare domain, such as corp.example, without @': text('@corp.example', 'a,b', 'corp.example.'),
  'write one scope an entry, without spaces': text('openid profile'),
  'write a prefix without spaces, such as partners/': text('our partners/'),
  'name the discovery document itself: an http(s) URL with /.well-known/ in its path': text(
    'https://corp.example', 'https://corp.example/?/.well-known/a', 'corp.example/.well-known/a',
  ), // prettier-ignore
  'write the email address of an administrator': text('admin', 'a b@corp.example'),
  'write an origin, such as https://login.corp.example': text(
    'https://login.corp.example/',
    "https://a';b",
    'login',
  ),
  'write text with placeholders, such as ci:{repository}; every brace belongs to a pair around the name of a claim':
    text('ci:{repository', 'ci:{}', 'ci:{a b}', 'ci:}'),
  'write a fixed address: a claim could make a workload look like a person': text('{email}'),
  'write whole hours and minutes, such as 90m': text('90s', '1h30s'),
  'write an absolute path': text('run/token'),
  'write an AWS region, such as us-east-1': text('US East', 'us_east_1'),
  'write the ARN of an IAM role, such as arn:aws:iam::123456789012:role/inference': text(
    'inference', 'arn:aws:iam::1234:role/a', 'arn:aws:iam::123456789012:user/a',
  ), // prettier-ignore
  'use at least 2 letters, digits or characters of _+=,.@:/-': text('a', 'a b'),
  'use letters, digits, hyphens and underscores': text('a b', 'a/b', 'a.b'),
  'write the id of a project, without spaces': text('a b'),
  'write the name of a resource: 2 to 64 letters, digits or hyphens, without a hyphen at either end': text(
    'a',
    '-ab',
    'ab-',
    'a.b',
  ),
  'use letters, digits, dots, hyphens and underscores, with a letter or digit at both ends': text(
    '-a',
    'a.',
    'a b',
  ),
  'use letters, digits, dots, hyphens and underscores': text('-a', 'a b'),
  'use letters, digits or characters of _.:/=+-@': text('cost center', 'ä'),
  'choose a tag that does not begin with anthropic': text('anthropic-team', 'Anthropic'),
  'write the origin that developers use, such as https://claude.corp.example, without credentials, path, query and fragment':
    text(
      'https://corp.example/claude',
      'claude.corp.example',
      'https://a@corp.example',
      'https://corp.example/?a',
      'https://corp.example/#a',
    ),
  'write postgres://HOST/DATABASE without user and password; give those by usernameSecretRef and passwordSecretRef':
    text('postgres://me:secret@db/claude', 'mysql://db/claude'),
  'write a notice, or leave loginNotice out': text(' \n '),
  'write dollars as a decimal in quotes, such as "100.00"; "0" blocks everything': text(
    '100,00',
    '$100',
    '-1',
    '1e3',
    '1000000000',
    '0.0000000001',
  ),
  'write a whole number, or a percentage such as 25%': [() => -1, () => 'half', () => '25'],
  ...Object.fromEntries([
    duration('1m', '720h', '59s', '721h'),
    duration('24h', '87600h', '23h', '87601h'),
    duration('0s', '10m', '11m'),
    duration('0s', '1m', '61s'),
    duration('0s', '100s', '101s'),
    duration('1m', '12h', '13h'),
    duration('1s', '1m', '0s', '61s'),
    duration('1s', '24h', '0s', '25h'),
    duration('0s', '5m', '301s'),
    duration('0s', '24h', '24h1s'),
    decimal(10, '10.1'),
    decimal(10_000, '10001'),
  ] as [string, Breaker[]][]),

  // Several fields.
  'set value or secretRef, and not both': [set({ secretRef: REF }), unset('value', 'secretRef')],
  'name each percentage once': [() => [75, 75]],
  'raise maxReplicas to at least minReplicas': [set({ minReplicas: 5, maxReplicas: 4 })],
  'set minAvailable or maxUnavailable, and not both': [set({ minAvailable: 1, maxUnavailable: 1 })],
  [`leave out redirect_uri, state, nonce, code_challenge, code_challenge_method, scope, response_type, response_mode, client_id: the gateway sets them`]:
    [set({ scope: 'openid' })],
  'add openid to the scopes': [() => ['profile']],
  'set clientSecretRef, or clientAssertion (private_key_jwt), and not both': [
    set({ clientAssertion: { privateKeyRef: REF, certificateRef: REF } }),
    unset('clientSecretRef', 'tokenEndpointAuthMethod'),
  ],
  'remove tokenEndpointAuthMethod: it says how a client secret is sent, and there is none': [
    (value) =>
      set({ clientAssertion: { privateKeyRef: REF, certificateRef: REF } })(unset('clientSecretRef')(value)),
  ],
  'choose another name: workload is the prefix of principals of workloadIdentity': [
    set({ name: 'workload' }),
  ],
  'name at least one claim, and what it must be': [() => ({}), set({ '': ['a'] })],
  'set generated (the operator makes keys) or secretRefs, and not both': [
    () => ({}),
    set({ secretRefs: [REF] }),
  ],
  'set tokenAudience (a token of the pod) or tokenFile (one of your own), and not both': [
    set({ tokenFile: '/a' }),
    unset('tokenAudience'),
  ],
  'set exactly one credential: apiKeySecretRef, oauthTokenSecretRef or federation': [
    set({ oauthTokenSecretRef: REF }),
    unset('apiKeySecretRef'),
  ],
  [`set accessKeys or bearerTokenSecretRef, and not both. ${POD_IDENTITY}`]: [
    (value) => set({ bearerTokenSecretRef: REF })(unset('assumeRole')(value)),
  ],
  'remove bearerTokenSecretRef or assumeRole: a bearer token cannot assume a role': [
    (value) => set({ bearerTokenSecretRef: REF })(unset('accessKeys')(value)),
  ],
  [`set apiKeySecretRef or accessKeys, and not both. ${POD_IDENTITY}`]: [set({ accessKeys: KEYS })],
  [`set serviceAccountKeySecretRef or accessTokenSecretRef, and not both. ${POD_IDENTITY}`]: [
    set({ accessTokenSecretRef: REF }),
  ],
  'set exactly one of anthropic, bedrock, mantle, anthropicAWS, anthropicGoogleCloud, vertex, foundry': [
    set({ bedrock: { region: 'us-east-1' } }),
    unset('anthropic'),
  ],
  'list models: mantle serves the models that are named, and no others': [
    (value) => set({ mantle: { region: 'us-east-1' } })(unset('anthropic', 'models')(value)),
  ],
  'name at least one upstream, and what it calls the model': [() => ({})],
  'name each group once': [() => ['a', 'b', 'a']],
  'set url or urlSecretRef, and not both': [set({ urlSecretRef: REF }), unset('url')],
  'set urlSecretRef, or url without credentials, and not both': [
    set({ url: 'postgres://db/claude' }),
    unset('urlSecretRef'),
  ],
  'use an https:// URL of googleapis.com: a Google access token goes nowhere else': [
    (value) => set({ google: {}, url: 'https://otel.corp.example' })(unset('headers')(value)),
    (value) => set({ google: {}, url: 'https://googleapis.com.corp.example' })(unset('headers')(value)),
    (value) => set({ google: {}, url: 'http://localhost:4318' })(unset('headers')(value)),
  ],
  'remove the Authorization header, or google, which sets it': [
    set({
      google: {},
      url: 'https://telemetry.googleapis.com',
      headers: [{ name: 'authorization', value: 'a' }],
    }),
  ],
  'name attributes with letters, digits, dots, hyphens and underscores, and write values in printable ASCII without spaces and , ; = " \\ %':
    ['a b', 'a,b', 'a;b', 'a=b', 'a"b', 'a\\b', 'a%b', 'ä']
      .map((value) => set({ team: value }))
      .concat(set({ 'a b': 'c' })),
  'choose other names: the gateway or Claude Code sets service.name, service.version, os.*, host.arch, wsl.version, user.*, enduser.* and identity.*':
    [
      'service.name',
      'Service.Version',
      'os.type',
      'host.arch',
      'wsl.version',
      'user.email',
      'enduser.id',
      'identity.x',
    ].map((name) => set({ [name]: 'a' })),
  'set replicas or autoscaling, and not both: autoscaling chooses the number of pods': [
    set({ replicas: 3, autoscaling: { maxReplicas: 3 } }),
  ],
  'upstreamModels names an upstream that is not there: use the name of one of spec.upstreams': [
    set({ models: { list: [{ id: 'a', upstreamModels: { anthropic: 'a', 'bedrock-eu': 'b' } }] } }),
  ],
  'overrides names an upstream that is not there: use the name of one of spec.upstreams': [
    set({
      pricing: {
        overrides: [
          { upstream: 'nowhere', model: 'a', input: '1', output: '1', cacheRead: '1', cacheWrite: '1' },
        ],
      },
    }),
  ],
  'put the guardrail on every bedrock upstream, and have no mantle beside it: failover must not go round it':
    [
      within('upstreams', (list) => [
        ...(list as unknown[]),
        { name: 'b', bedrock: { region: 'us-east-1' } },
      ]),
      within('upstreams', (list) => [
        ...(list as unknown[]),
        { name: 'm', models: ['a'], mantle: { region: 'us-east-1' } },
      ]),
    ],
  'name the Group or User; an Organization has no name: leave it out': [
    set({ kind: 'Organization' }),
    unset('name'),
    (value) => set({ kind: 'User' })(unset('name')(value)),
  ],
  'set exactly one of usd, tokens and unlimited': [
    set({ tokens: 1 }),
    set({ unlimited: 'USD' }),
    unset('usd'),
  ],
  'remove countCacheReads: it is for tokens, and dollars count everything': [
    set({ countCacheReads: true }),
    (value) => set({ countCacheReads: true, unlimited: 'USD' })(unset('usd')(value)),
  ],
  'have one limit for each period, sharing and unit: remove the ones that repeat': [
    (value) => [...(value as unknown[]), { period: 'Daily', sharing: 'PerMember', usd: '5' }],
    (value) => [...(value as unknown[]), { period: 'Daily', unlimited: 'USD' }],
    (value) => [...(value as unknown[]), { period: 'Weekly', tokens: 5 }],
  ],
  'remove sharing: Pooled; the limit of a User is theirs alone': [
    set({ subject: { kind: 'User', name: 'ada' } }),
  ],
  'set settings, desktop, or both; write settings: {} to give nothing but the base': [
    unset('settings', 'desktop'),
  ],
};

const durations = (min: string, max: string): [string, string[]] => [
  `write a duration in hours, minutes and seconds, such as 1h, 15m or 1h30m, from ${min} to ${max}`,
  [min, max],
];

/** Texts at the very edge of what a rule allows, by its message. */
export const KEEPERS: Readonly<Record<string, readonly string[] | undefined>> = {
  ...Object.fromEntries([
    durations('1m', '720h'),
    durations('24h', '87600h'),
    durations('0s', '10m'),
    durations('0s', '1m'),
    durations('1m', '12h'),
    durations('1s', '1m'),
    durations('1s', '24h'),
    durations('0s', '5m'),
    durations('0s', '24h'),
  ]),
  'write a decimal in quotes, such as "0.85", above 0 and at most 10': ['0.000000001', '10', '10.0'],
  'write a decimal in quotes, such as "0.85", above 0 and at most 10000': ['0.000000001', '10000'],
  'write dollars as a decimal in quotes, such as "100.00"; "0" blocks everything': [
    '0',
    '0.00',
    '999999999.999999999',
  ],
  'write an IP address, or a network in CIDR notation such as 10.0.0.0/8': [
    '0.0.0.0/0',
    '::/0',
    '2001:db8::1',
  ],
  'write an IANA time zone, such as Europe/Berlin': ['UTC', 'Etc/GMT+12', 'America/Argentina/Buenos_Aires'],
  'write an https:// URL; http:// is for a collector in the same pod (localhost) only': [
    'http://127.0.0.1:4318', 'http://[::1]:4318/otlp', 'https://otel.corp.example:4318',
  ], // prettier-ignore
  'write an absolute URL that begins with https:// or http://, without credentials and fragment': [
    'http://a', 'https://[2001:db8::1]:8443/a?b=c', 'https://corp.example?a=b',
  ], // prettier-ignore
  'use letters, digits, dots, hyphens and underscores, with a letter or digit at both ends': ['a', 'A.b_c-1'],
  'write text with placeholders, such as ci:{repository}; every brace belongs to a pair around the name of a claim': [
    'fixed', '{/kubernetes.io/namespace}',
  ], // prettier-ignore
};
