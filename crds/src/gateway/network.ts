import { z } from 'zod';
import {
  cidr,
  duration,
  headers,
  label,
  mapList,
  mapOf,
  objectName,
  secretKeyRef,
  secureUrl,
  setOf,
  text,
} from '../fields.ts';
import { exactlyOneOf, matching, withRules } from '../rules.ts';

export const publicURL = text(
  512,
  matching(
    /^https?:\/\/[^\s\/?#@]+\/?$/,
    'write the origin that developers use, such as https://claude.corp.example, without credentials, path, query and fragment',
  ),
).describe(
  'The origin under which developers and browsers reach the gateway; a host of its own, since clients look for discovery and sign-in at the root. Redirect URIs and the issuer of tokens are made from it.',
);

export const listen = z
  .strictObject({
    host: z
      .enum(['0.0.0.0', '::'])
      .default('0.0.0.0')
      .describe('Address to bind; :: for IPv6 and dual-stack.'),
    port: z.int().min(1024).max(65_535).default(8080).describe('Port of the pods.'),
    tls: z
      .strictObject({ secretName: objectName().describe('Secret of type kubernetes.io/tls.') })
      .optional()
      .describe('Terminate TLS in the gateway itself. Leave it out behind an ingress that does.'),
    trustedProxies: setOf(cidr(), 64)
      .optional()
      .describe(
        'Addresses or networks of the load balancers in front: X-Forwarded-For is believed from them alone.',
      ),
  })
  .prefault({})
  .describe('Where the pods listen.');

export const database = withRules(
  z.strictObject({
    urlSecretRef: secretKeyRef()
      .optional()
      .describe('Connection URL, such as the uri of a CloudNativePG cluster.'),
    url: text(
      2048,
      matching(
        /^postgres(ql)?:\/\/[^\s@]+$/,
        'write postgres://HOST/DATABASE without user and password; give those by usernameSecretRef and passwordSecretRef',
      ),
    )
      .optional()
      .describe('Connection URL without credentials.'),
    usernameSecretRef: secretKeyRef().optional().describe('Database user; wins over the one in the URL.'),
    passwordSecretRef: secretKeyRef().optional().describe('Database password; wins over the one in the URL.'),
    maxConnections: z
      .int()
      .min(1)
      .max(1000)
      .default(5)
      .describe('Connections of each pod, at least three; see docs/operations.md.'),
    connectTimeout: duration('1s', '1m').default('5s').describe('How long one attempt to connect may take.'),
    startTimeout: duration('0s', '100s')
      .default('1m')
      .describe('How long a pod that starts goes on trying while the database is away, slow, or a standby.'),
  }),
  exactlyOneOf(['urlSecretRef', 'url'], 'set urlSecretRef, or url without credentials, and not both'),
).describe('The PostgreSQL database that the pods share.');

export const accessControl = z
  .strictObject({
    allowCIDRs: setOf(cidr(), 256)
      .optional()
      .describe('When not empty, only these addresses and networks are served. Probes are exempt.'),
    denyCIDRs: setOf(cidr(), 256)
      .optional()
      .describe('Addresses and networks to refuse; wins over allowCIDRs.'),
  })
  .optional()
  .describe('Which client addresses are served, behind listen.trustedProxies.');

export const requestLimits = z
  .strictObject({
    maxBodyBytes: z
      .int()
      .min(1)
      .max(1_073_741_824)
      .default(33_554_432)
      .describe('Largest request body, in bytes; a larger one gets 413.'),
    maxHeaderBytes: z
      .int()
      .min(1)
      .max(1_073_741_824)
      .optional()
      .describe('Largest request header, in bytes; a larger one gets 431.'),
    maxURLLength: z
      .int()
      .min(1)
      .max(1_048_576)
      .optional()
      .describe('Longest request target, in characters; a longer one gets 414.'),
    maxBufferedBodyBytes: z
      .int()
      .min(1)
      .max(1_099_511_627_776)
      .optional()
      .describe(
        'Bytes of request bodies that one pod keeps at a time, of all requests together; what does not fit gets 503 before it is read, and one person may take half. When left out: a quarter of the memory limit of the container (of the node without one), from 64 MiB to 1 GiB.',
      ),
    maxConnections: z
      .int()
      .min(16)
      .max(1_000_000)
      .optional()
      .describe(
        'Connections that one pod takes at a time. When left out: one for each 256 KiB of memory, from 1000 to 20000.',
      ),
    maxConnectionsPerAddress: z
      .int()
      .min(0)
      .max(1_000_000)
      .optional()
      .describe(
        'Connections of one client address (of IPv6 its /64) at a time; 0 for no limit. Those of listen.trustedProxies are not counted. When left out: half of maxConnections.',
      ),
    maxRequestsInFlightPerPerson: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(512)
      .describe(
        'Requests of one person or workload at a time, at one pod; further ones get 429 and are retried. 0 for no limit.',
      ),
    maxRequestsInFlightPerAddress: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(256)
      .describe(
        'Requests of one client address (of IPv6 its /64) at a time, behind listen.trustedProxies, that have not said yet whose they are; further ones get 429. 0 for no limit.',
      ),
    minBodyBytesPerSecond: z
      .int()
      .min(0)
      .max(1_073_741_824)
      .default(8192)
      .describe(
        'Slowest transfer of a request body, on average after its first ten seconds; a slower one gets 408. 0 for no limit.',
      ),
  })
  .prefault({})
  .describe('How large requests may be, and how much clients may make one pod hold.');

export const timeouts = z
  .strictObject({
    upstreamFirstByte: duration('1s', '24h')
      .default('2m')
      .describe(
        "Longest wait for an upstream's response headers. An answer that has begun may take any time.",
      ),
    upstreamIdle: duration('0s', '24h')
      .default('5m')
      .describe(
        'How long an upstream that has begun to answer may send nothing; after it the answer ends with an error. 0s for no limit.',
      ),
    upstreamPingsOnly: duration('0s', '24h')
      .default('10m')
      .describe(
        'How long it may send nothing but pings: it does while a model thinks and does not show it. 0s for no limit.',
      ),
    requestHeaders: duration('1s', '24h')
      .default('20s')
      .describe('Longest wait for the headers of a request; after it there is 408.'),
    requestBody: duration('1s', '24h')
      .default('5m')
      .describe('Longest wait for the body of a request; after it there is 408.'),
    clientStall: duration('1s', '24h')
      .default('2m')
      .describe(
        'How long a client may take nothing of an answer that waits for it; after it the connection is closed.',
      ),
    keepAlive: duration('1s', '24h')
      .default('620s')
      .describe(
        'How long a connection may be idle between two requests: longer than the load balancer in front keeps it.',
      ),
  })
  .prefault({})
  .describe('How long to wait.');

export const proxy = z
  .strictObject({
    isEgressBoundary: z
      .boolean()
      .default(false)
      .describe(
        'The proxy is the only way out: it gets the names of destinations and resolves them, and must refuse what resolves to loopback, link-local and cloud metadata addresses.',
      ),
    idpConnectByHostname: z
      .boolean()
      .default(false)
      .describe('The same for identity providers alone, with useProxy and https:// only.'),
  })
  .prefault({})
  .describe(
    'How requests go through the forward proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name in the environment of the pods.',
  );

const rateLimit = (what: string, max: number, window = '10m') =>
  z
    .strictObject({
      max: z.int().min(1).max(1_000_000).default(max).describe('Requests admitted in a window.'),
      window: duration('1s', '24h').default(window).describe('Length of a window.'),
    })
    .prefault({})
    .describe(what);

export const rateLimits = z
  .strictObject({
    deviceAuthorization: rateLimit('New sign-ins, for each client address.', 600),
    deviceVerify: rateLimit('Wrong user codes entered on the sign-in page, for each client address.', 30),
    deviceConfirm: rateLimit('Right user codes entered there, for each client address.', 1000),
    token: rateLimit(
      'Requests to /oauth/token and /oauth/revoke, for each client address, on each pod.',
      1200,
      '10s',
    ),
    signInPages: rateLimit(
      'Requests to /device and /oauth/callback, for each client address, on each pod.',
      600,
      '10s',
    ),
  })
  .prefault({})
  .describe(
    'Limits of the endpoints that need no sign-in, by client address (IPv6: by /64). Many people may share one.',
  );

export const shutdown = z
  .strictObject({
    delay: duration('0s', '5m')
      .default('5s')
      .describe('How long to go on serving while load balancers take notice that the pod leaves.'),
    grace: duration('0s', '24h')
      .default('10m')
      .describe(
        "How long requests in flight may take to finish after that. The pod's grace period follows from both.",
      ),
  })
  .prefault({})
  .describe('How pods leave service.');

const destination = withRules(
  z.strictObject({
    name: label().describe('Name of the destination.'),
    url: secureUrl().describe('Base URL of an OTLP/HTTP receiver.'),
    signals: setOf(z.enum(['Metrics', 'Logs', 'Traces']), 3, 1)
      .default(['Metrics'])
      .describe('What is forwarded. Logs and traces may hold commands, tool input and file paths.'),
    headers: headers().optional().describe('Headers of every export, such as a credential.'),
    google: z
      .strictObject({
        serviceAccountKeySecretRef: secretKeyRef()
          .optional()
          .describe("Key (JSON) of a service account. The pod's own identity is used when left out."),
      })
      .optional()
      .describe('Send a Google access token.'),
  }),
  {
    rule: "!has(self.google) || self.url.matches(r'^https://([a-z0-9-]+[.])*googleapis[.]com([:/]|$)')",
    message: 'use an https:// URL of googleapis.com: a Google access token goes nowhere else',
    field: 'url',
    holds: ({ google, url }) =>
      google === undefined || /^https:\/\/([a-z0-9-]+[.])*googleapis[.]com([:/]|$)/.test(url),
  },
  {
    rule: "!has(self.google) || !has(self.headers) || !self.headers.exists(header, header.name.lowerAscii() == 'authorization')",
    message: 'remove the Authorization header, or google, which sets it',
    field: 'headers',
    holds: ({ google, headers: list }) =>
      google === undefined || !list?.some(({ name }) => name.toLowerCase() === 'authorization'),
  },
);

const resourceAttributes = withRules(
  mapOf(z.string().min(1).max(255), 32),
  {
    rule: "self.all(name, name.matches(r'^[A-Za-z0-9._-]{1,255}$') && self[name].matches(r'^[!#$&-+\\--:<>-\\[\\]-~]+$'))",
    message:
      'name attributes with letters, digits, dots, hyphens and underscores, and write values in printable ASCII without spaces and , ; = " \\ %',
    holds: (attributes) =>
      Object.entries(attributes).every(
        ([name, value]) => /^[A-Za-z0-9._-]{1,255}$/.test(name) && /^[!#$&-+\--:<>-[\]-~]+$/.test(value),
      ),
  },
  {
    rule: "self.all(name, !name.matches(r'(?i)^(service[.](name|version)|os[.](type|version)|host[.]arch|wsl[.]version)$|^(user|enduser|identity)[.]'))",
    message:
      'choose other names: the gateway or Claude Code sets service.name, service.version, os.*, host.arch, wsl.version, user.*, enduser.* and identity.*',
    holds: (attributes) =>
      !Object.keys(attributes).some((name) =>
        /^(service[.](name|version)|os[.](type|version)|host[.]arch|wsl[.]version)$|^(user|enduser|identity)[.]/i.test(
          name,
        ),
      ),
  },
);

export const telemetry = z
  .strictObject({
    destinations: mapList(destination, ['name'], 16)
      .optional()
      .describe('Where the OTLP exports of clients go.'),
    resourceAttributes: resourceAttributes
      .optional()
      .describe('OpenTelemetry resource attributes that clients add to every export.'),
  })
  .optional()
  .describe('Forwarding of the telemetry of Claude Code.');
