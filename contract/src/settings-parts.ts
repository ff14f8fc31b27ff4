import type { ObjectShape, SettingShape, TaggedShape } from './settings-shapes.ts';

/** Parts of {@link SETTINGS_KEYS} that are tables of their own. */

const GIT: ObjectShape['keys'] = {
  ref: 'string',
  path: 'string',
  sparsePaths: 'strings',
  skipLfs: 'boolean',
};

/** Where a marketplace comes from. Source: https://code.claude.com/docs/en/plugin-marketplaces */
export const MARKETPLACE_SOURCE: TaggedShape = {
  tag: 'source',
  variants: {
    github: { keys: { repo: 'string', ...GIT }, required: ['repo'] },
    git: { keys: { url: 'string', ...GIT }, required: ['url'] },
    url: {
      keys: { url: 'url', headers: { recordOf: 'string' }, headersHelper: 'string' },
      required: ['url'],
    },
    npm: { keys: { package: 'any', version: 'string', registry: 'url' }, required: ['package'] },
    file: { keys: { path: 'string' }, required: ['path'] },
    directory: { keys: { path: 'string' }, required: ['path'] },
    hostPattern: { keys: { hostPattern: 'string' }, required: ['hostPattern'] },
    pathPattern: { keys: { pathPattern: 'string' }, required: ['pathPattern'] },
    settings: {
      keys: {
        name: 'string',
        plugins: {
          listOf: { keys: { name: 'string', source: 'any' }, required: ['name', 'source'], open: true },
        },
      },
      required: ['name', 'plugins'],
    },
    'skills-dir': { keys: {} },
  },
};

export const MARKETPLACE_SOURCES: SettingShape = { listOf: MARKETPLACE_SOURCE };

export const KNOWN_MARKETPLACES: SettingShape = {
  recordOf: {
    keys: { source: MARKETPLACE_SOURCE, installLocation: 'string', autoUpdate: 'boolean' },
    required: ['source'],
  },
};

/** Which MCP servers a list means. Source: https://code.claude.com/docs/en/managed-mcp */
export const MCP_SERVER_MATCHERS: SettingShape = {
  listOf: { exactlyOne: { serverName: 'string', serverCommand: 'strings', serverUrl: 'string' } },
};

const NAMES_A_PROGRAM =
  'cannot be pushed by managed settings, which must not name a program to run: only http and sse servers can be';

export const MANAGED_MCP_SERVERS: SettingShape = {
  recordOf: {
    keys: {
      type: { oneOf: ['http', 'sse'] },
      url: 'string',
      headers: { recordOf: 'string' },
      oauth: 'object',
      timeout: 'any',
      alwaysLoad: 'any',
    },
    required: ['type', 'url'],
    forbidden: {
      command: NAMES_A_PROGRAM,
      args: NAMES_A_PROGRAM,
      env: NAMES_A_PROGRAM,
      headersHelper: NAMES_A_PROGRAM,
    },
  },
};

/** Events that hooks run at. Source: https://code.claude.com/docs/en/hooks */
export const HOOK_EVENTS: readonly string[] = [
  'ConfigChange',
  'CwdChanged',
  'Elicitation',
  'ElicitationResult',
  'FileChanged',
  'InstructionsLoaded',
  'MessageDisplay',
  'Notification',
  'PermissionDenied',
  'PermissionRequest',
  'PostCompact',
  'PostToolBatch',
  'PostToolUse',
  'PostToolUseFailure',
  'PreCompact',
  'PreToolUse',
  'SessionEnd',
  'SessionStart',
  'Setup',
  'Stop',
  'StopFailure',
  'SubagentStart',
  'SubagentStop',
  'TaskCompleted',
  'TaskCreated',
  'TeammateIdle',
  'UserPromptExpansion',
  'UserPromptSubmit',
  'WorktreeCreate',
  'WorktreeRemove',
];

/** Keys of a hook beside its type's are left to the clients: several kinds of hooks have keys of their own. */
function hook(...required: string[]): ObjectShape {
  return { keys: Object.fromEntries(required.map((key) => [key, 'string'])), required, open: true };
}

export const HOOKS: SettingShape = {
  recordOf: {
    listOf: {
      keys: {
        matcher: 'string',
        hooks: {
          listOf: {
            tag: 'type',
            variants: {
              command: hook('command'),
              prompt: hook('prompt'),
              agent: hook('prompt'),
              http: hook('url'),
              mcp_tool: hook('server', 'tool'),
            },
          },
        },
      },
      required: ['hooks'],
      open: true,
    },
  },
  names: HOOK_EVENTS,
  named: 'an event that this gateway knows',
};

export const PERMISSIONS: SettingShape = {
  keys: {
    allow: 'rules',
    ask: 'rules',
    deny: 'rules',
    additionalDirectories: 'strings',
    blockFileToolReadsOutsideWorkingDirectories: 'boolean',
    blockReadsOutsideWorkingDirectories: 'boolean',
    blockWritesOutsideWorkingDirectories: 'boolean',
    defaultMode: { oneOf: ['acceptEdits', 'auto', 'bypassPermissions', 'default', 'dontAsk', 'plan'] },
    denyInsteadOfPrompting: 'boolean',
    disableAutoMode: { oneOf: ['disable'] },
    disableBypassPermissionsMode: { oneOf: ['disable'] },
  },
};

export const SANDBOX: SettingShape = {
  keys: {
    enabled: 'boolean',
    failIfUnavailable: 'boolean',
    allowAppleEvents: 'boolean',
    allowNestedUserNamespaces: 'boolean',
    allowUnsandboxedCommands: 'boolean',
    autoAllowBashIfSandboxed: 'boolean',
    bwrapPath: 'any',
    credentials: {
      keys: { files: 'list', envVars: 'list', awsPairs: 'list', allowPlaintextInject: 'boolean' },
    },
    enableWeakerNestedSandbox: 'boolean',
    enableWeakerNetworkIsolation: 'boolean',
    excludedCommands: 'strings',
    filesystem: {
      keys: {
        allowManagedReadPathsOnly: 'boolean',
        allowRead: 'strings',
        allowWrite: 'strings',
        denyRead: 'strings',
        denyWrite: 'strings',
        disabled: 'boolean',
      },
    },
    ignoreViolations: { recordOf: 'strings' },
    network: {
      keys: {
        allowAllUnixSockets: 'boolean',
        allowedDomains: 'strings',
        allowLocalBinding: 'boolean',
        allowMachLookup: 'strings',
        allowManagedDomainsOnly: 'boolean',
        allowUnixSockets: 'strings',
        deniedDomains: 'strings',
        httpProxyPort: 'number',
        socksProxyPort: 'number',
        strictAllowlist: 'boolean',
        tlsTerminate: 'any',
      },
    },
    ripgrep: { keys: { command: 'string', args: 'strings' }, required: ['command'] },
    socatPath: 'any',
  },
};
