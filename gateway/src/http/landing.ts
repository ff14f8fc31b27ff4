import { Router } from 'express';
import { contextOf } from './context.ts';
import { html, sendPage } from './page.ts';

/** The page at `/`: for a person who found the address and wonders what it is. */
export function createLandingRouter(options: { version: string; publicUrl: string }): Router {
  const { version, publicUrl } = options;
  const managedSettings = JSON.stringify(
    { forceLoginMethod: 'gateway', forceLoginGatewayUrl: publicUrl },
    null,
    2,
  );
  const body = html`
    <h1>This is a gateway for Claude Code</h1>
    <p>
      Developers sign in here with the company's single sign-on. In a terminal, run <code>claude</code> and
      choose the gateway, or enter <code>/login</code>; a page of this gateway then asks you to confirm a
      code.
    </p>
    <h2>For administrators</h2>
    <p>Claude Code finds this gateway through its managed settings file:</p>
    <pre><code>${managedSettings}</code></pre>
    <p><a href="/device">Enter a code</a> · <a href="/protocol">Protocol</a></p>
  `;
  const router = Router();
  router.get('/', (request, response) => {
    sendPage(response, {
      title: 'Gateway for Claude Code',
      body,
      reference: `version ${version} · ${contextOf(request).id}`,
      secure: publicUrl.startsWith('https:'),
    });
  });
  return router;
}
