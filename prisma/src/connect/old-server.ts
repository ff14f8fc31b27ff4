import type { EventEmitter } from 'node:events';
import type pg from 'pg';

/** PostgreSQL 12 was the first to be told which parts of a statement to work out once: versions before do so with all of them. */
const FIRST_TO_BE_TOLD = 12;

/** Lets a connection say to a server of before PostgreSQL 12 what it does not have to be told, and does not understand. */
export function adaptToServer(client: pg.Client): void {
  const { connection } = client;
  const told = connection as unknown as EventEmitter;
  told.on('parameterStatus', (status: { parameterName: string; parameterValue: string }) => {
    const { parameterName, parameterValue } = status;
    if (parameterName !== 'server_version' || parseInt(parameterValue) >= FIRST_TO_BE_TOLD) return;
    const parse = connection.parse.bind(connection);
    const query = connection.query.bind(connection);
    connection.parse = (statement, more) => parse({ ...statement, text: untold(statement.text) }, more);
    connection.query = (text) => query(untold(text));
  });
}

function untold(text: string): string {
  return text.replaceAll(/\bAS MATERIALIZED\b/g, 'AS');
}
