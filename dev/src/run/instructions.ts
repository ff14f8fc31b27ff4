import { styleText } from 'node:util';
import type { DevelopmentUser } from '../identity-provider-users.ts';
import { policyInWords } from './gateway-config.ts';

export interface InstructionsOptions {
  readonly url: string;
  readonly issuer: string;
  readonly databaseUrl: string;
  readonly upstream: string;
  readonly configPath: string;
  /** The folder of manifests whose policies are in force. */
  readonly manifests: string;
  /** A Claude Code configuration directory that already names this gateway. */
  readonly claudeConfigDir: string;
  readonly users: readonly DevelopmentUser[];
  readonly adminKey: string;
}

/** What a person reads once everything runs: where it is, and what to type next. */
export function instructions(options: InstructionsOptions): string {
  const bold = (text: string): string => styleText('bold', text);
  const managed = JSON.stringify({ forceLoginMethod: 'gateway', forceLoginGatewayUrl: options.url });
  const people = options.users.map((user) =>
    [
      `  ${user.sub.padEnd(7)}`,
      user.groups.join(', ').padEnd(22),
      user.emailVerified ? policyInWords(user.groups) : 'refused: the email address is not verified',
    ].join(' '),
  );
  return `
${bold('The gateway is ready:')} ${options.url}

${bold('Sign in with Claude Code')}, in another terminal, leaving your own settings alone:

  CLAUDE_CONFIG_DIR=${shellQuote(options.claudeConfigDir)} claude

  Press Enter on the "Cloud gateway" screen, then choose "Yes, trust this gateway" ("No" is selected). Compare the code
  in the browser and pick somebody; then choose "Yes, continue" and "Yes, I trust this folder" in the terminal:

${people.join('\n')}

${bold('As a company does it')}, for everybody on a machine (macOS: /Library/Application Support/ClaudeCode):

  sudo mkdir -p /etc/claude-code
  echo '${managed}' | sudo tee /etc/claude-code/managed-settings.json
  claude        # then /login

${bold('Without signing in from Claude Code')}: get a token in the browser, and set two variables:

  eval "$(make -s sign-in)"        # sets ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN
  claude -p 'hello'

${bold('Change a policy')}: edit a file in ${options.manifests}, save it, and read here that it is enforced.

${bold('Cap what somebody may spend')} without a manifest, here alice, one cent a day ("500": five dollars; null: no limit):

  curl ${options.url}/v1/organizations/spend_limits -H 'x-api-key: ${options.adminKey}' \\
    -d '{"scope": {"type": "user", "user_id": "alice@corp.example"}, "amount": "1", "period": "daily"}'

  upstream           ${options.upstream}
  identity provider  ${options.issuer}  (disable somebody there, and see the session end)
  database           ${options.databaseUrl}
  configuration      ${options.configPath}
  policies           ${options.manifests}

${bold('Ctrl-C stops everything.')} Sessions and data stay for the next time.
`;
}

function shellQuote(text: string): string {
  return /^[\w/.:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
