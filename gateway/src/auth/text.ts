/** Characters of a subject that sessions, indexes and limits name somebody by; OpenID Connect Core §2 allows 255. */
export const MAX_SUBJECT_CHARACTERS = 255;
/** Characters of an address (RFC 5321 §4.5.3.1: 64 of the local part, 255 of the domain). */
const MAX_EMAIL_CHARACTERS = 320;
/** Characters of a name that is only there to be read. */
const MAX_NAME_CHARACTERS = 255;
/** Characters of a group's name: a distinguished name of LDAP fits. */
const MAX_GROUP_CHARACTERS = 512;

const CONTROL = /\p{Cc}/u;

/**
 * Whether limits, logs and PostgreSQL can name somebody by this: no control characters, no half of a surrogate pair, and
 * no blanks around it, which would make two people look like one.
 */
export function isUsableSubject(text: string): boolean {
  return (
    text === text.trim() &&
    text.length <= MAX_SUBJECT_CHARACTERS &&
    !CONTROL.test(text) &&
    text.isWellFormed()
  );
}

/** Whether this can be kept and compared as an address. Some companies put a user name where others have an address. */
export function isUsableEmail(text: string): boolean {
  return text.length <= MAX_EMAIL_CHARACTERS && !CONTROL.test(text) && text.isWellFormed();
}

/** PostgreSQL's texts hold neither NUL nor half of a surrogate pair, and no policy can name a group that has one. */
export function isUsableGroup(text: string): boolean {
  return text.length <= MAX_GROUP_CHARACTERS && !text.includes('\0') && text.isWellFormed();
}

/** A name for people to read, as far as it can be stored and shown on one line. */
export function readableName(text: string): string | null {
  const name = text
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ')
    .trim();
  return name === '' ? null : [...name].slice(0, MAX_NAME_CHARACTERS).join('');
}
