import type { Session, Store } from '@claude-gateway/prisma';

/** Whose sessions end. */
export type RevokeTarget =
  /** Email address. */
  { readonly user: string } | { readonly sub: string } | { readonly session: string };

type Write = (text: string) => void;

const LIST_LIMIT = 200;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * `claude-gateway revoke`: ends sessions on every replica and says which.
 *
 * @returns The exit code: 1 when there was nothing to revoke, so that a script notices a mistyped name.
 */
export async function revokeSessions(
  store: Pick<Store, 'sessions'>,
  target: RevokeTarget,
  write: Write,
  clock: () => Date = () => new Date(),
): Promise<number> {
  const revoked = await revoke(store, target, clock());
  if (revoked.length === 0) {
    write(`No live session of ${describe(target)}. "claude-gateway sessions" lists them.\n`);
    return 1;
  }
  const count = revoked.length === 1 ? '1 session' : `${revoked.length} sessions`;
  write(`Revoked ${count} of ${describe(target)}. Every replica refuses them within a second.\n`);
  for (const id of revoked) write(`  ${id}\n`);
  return 0;
}

async function revoke(
  store: Pick<Store, 'sessions'>,
  target: RevokeTarget,
  now: Date,
): Promise<readonly string[]> {
  if ('user' in target) return store.sessions.revokeByUser({ email: target.user }, 'admin', now);
  if ('sub' in target) return store.sessions.revokeByUser({ sub: target.sub }, 'admin', now);
  const id = target.session.trim().toLowerCase();
  if (!UUID.test(id))
    throw new Error(`--session ${JSON.stringify(target.session)} is not a session id (a UUID)`);
  return (await store.sessions.revoke(id, 'admin', now)) ? [id] : [];
}

function describe(target: RevokeTarget): string {
  if ('user' in target) return target.user;
  return 'sub' in target ? `sub ${target.sub}` : `id ${target.session}`;
}

/**
 * `claude-gateway sessions`: the sessions used last, newest first.
 *
 * @param filter.user Email address, or a `sub`, which is what workloads have.
 * @returns The exit code.
 */
export async function listSessions(
  store: Pick<Store, 'sessions'>,
  filter: { readonly user?: string | undefined },
  write: Write,
): Promise<number> {
  const sessions = await store.sessions.list({
    limit: LIST_LIMIT,
    ...(filter.user === undefined
      ? {}
      : filter.user.includes('@')
        ? { email: filter.user }
        : { sub: filter.user }),
  });
  if (sessions.length === 0) {
    write(filter.user === undefined ? 'No sessions.\n' : `No sessions of ${filter.user}.\n`);
    return 0;
  }
  write(table(['SESSION', 'USER', 'SUB', 'SIGNED IN', 'REFRESHED', 'STATE'], sessions.map(rowOf)));
  if (sessions.length === LIST_LIMIT) write(`Only the latest ${LIST_LIMIT} are shown; narrow with --user.\n`);
  return 0;
}

function rowOf({ id, identity, createdAt, refreshedAt, revokedAt }: Session): string[] {
  const state = revokedAt === null ? 'live' : `revoked ${minute(revokedAt)}`;
  return [id, identity.email ?? '-', identity.sub, minute(createdAt), minute(refreshedAt), state].map(
    printable,
  );
}

/** UTC, to the minute: `2026-01-31 09:15Z`. */
function minute(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

/** What identity providers say must not steer a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '?');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
