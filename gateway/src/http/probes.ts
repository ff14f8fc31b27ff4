import { Router } from 'express';
import { protocolPage } from './protocol.ts';

/** What people and probes ask for without signing in. */
export function createProbesRouter(options: {
  version: string;
  publicUrl: string;
  /** Red while the replica drains; see {@link Listener.draining}. */
  isDraining: () => boolean;
}): Router {
  const protocol = protocolPage(options);
  const router = Router();
  router.get('/healthz', (_request, response) => {
    response.type('text/plain').send('ok');
  });
  router.get('/readyz', (_request, response) => {
    const draining = options.isDraining();
    response
      .status(draining ? 503 : 200)
      .type('text/plain')
      .send(draining ? 'draining' : 'ready');
  });
  router.get('/protocol', (_request, response) => {
    response.type('text/plain').send(protocol);
  });
  // The client warms its connection up with this one; any answer will do.
  router.head('/api/hello', (_request, response) => {
    response.status(200).end();
  });
  return router;
}
