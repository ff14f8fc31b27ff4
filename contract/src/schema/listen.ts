import { z } from 'zod';
import { isHttpUrl, isLoopbackHost } from './addresses.ts';
import { evenWithProblems, network, nonEmpty, numeric } from './fields.ts';

const publicUrl = z
  .string()
  .refine(isHttpUrl, { error: 'must be an absolute http:// or https:// URL', abort: true })
  .refine(
    (text) => {
      const url = new URL(text);
      return url.search === '' && url.hash === '' && url.username === '' && url.password === '';
    },
    { error: 'must be an origin without credentials, query or fragment' },
  )
  .transform((text) => text.replace(/\/$/, ''))
  .describe(
    'The origin under which developers and browsers reach the gateway, such as https://claude.corp.example. Redirect URIs, discovery metadata and the issuer of tokens are made from it. Required unless host is a loopback address, and for telemetry.',
  );

export const tlsSchema = z
  .strictObject({
    cert: nonEmpty().describe(
      'Path of the certificate chain, PEM. Watched: a new file is served without a restart.',
    ),
    key: nonEmpty().describe('Path of the private key of the certificate, PEM.'),
  })
  .describe(
    'Terminate TLS in the gateway itself. Leave it out behind an ingress or load balancer that does.',
  );

export const listenSchema = z
  .strictObject({
    host: nonEmpty().default('0.0.0.0').describe('Address to bind.'),
    port: numeric(z.int().min(0).max(65535))
      .prefault(8080)
      .describe('TCP port to bind. 0 lets the operating system choose.'),
    tls: tlsSchema.optional(),
    public_url: publicUrl.optional(),
    trusted_proxies: z
      .array(network())
      .default([])
      .describe(
        'Addresses or networks of the load balancers in front. X-Forwarded-For is believed from them alone, for rate limits, access control and audit.',
      ),
  })
  .superRefine((listen, ctx) => {
    const { host, public_url: publicUrl } = listen as { host?: unknown; public_url?: unknown };
    if (publicUrl === undefined && typeof host === 'string' && !isLoopbackHost(host)) {
      ctx.addIssue({
        code: 'custom',
        path: ['public_url'],
        message:
          'is required when listen.host is not a loopback address: set it to the origin developers use, such as https://claude.corp.example',
      });
    }
  }, evenWithProblems)
  .describe('Where the gateway listens, and the origin it is known by.');

export type ListenConfig = z.output<typeof listenSchema>;
export type TlsConfig = z.output<typeof tlsSchema>;
