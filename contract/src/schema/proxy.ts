import { z } from 'zod';

export const proxySchema = z
  .strictObject({
    is_egress_boundary: z
      .boolean()
      .default(false)
      .describe(
        'The proxy is the only way out: it gets the names of destinations and resolves them, so that nothing has to be resolved here, and it must refuse what resolves to loopback, link-local and cloud metadata addresses. As CLAUDE_GATEWAY_PROXY_IS_EGRESS_BOUNDARY=1.',
      ),
    idp_connect_by_hostname: z
      .boolean()
      .default(false)
      .describe(
        'The same for identity providers alone, with use_proxy: true and https:// only. As CLAUDE_GATEWAY_IDP_CONNECT_BY_HOSTNAME=1.',
      ),
  })
  .prefault({})
  .describe(
    'How requests go through the forward proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name. Hosts in NO_PROXY are resolved, checked and reached directly.',
  );
