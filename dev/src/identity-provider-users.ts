/** Somebody who can sign in at the development identity provider. */
export interface DevelopmentUser {
  /** Subject, and what a test names the person by. Letters, digits, `-`, `_` and `.`. */
  readonly sub: string;
  readonly name: string;
  readonly email: string;
  readonly emailVerified: boolean;
  readonly groups: readonly string[];
}

/** The people of `make dev` and of the end-to-end tests: one for each thing that a gateway decides about a person. */
export const DEVELOPMENT_USERS: readonly DevelopmentUser[] = [
  {
    sub: 'alice',
    name: 'Alice Engineer',
    email: 'alice@corp.example',
    emailVerified: true,
    groups: ['eng'],
  },
  {
    sub: 'bob',
    name: 'Bob Contractor',
    email: 'bob@corp.example',
    emailVerified: true,
    groups: ['contractors'],
  },
  {
    sub: 'carol',
    name: 'Carol Controller',
    email: 'carol@corp.example',
    emailVerified: true,
    groups: ['platform-finops', 'eng'],
  },
  {
    sub: 'dave',
    name: 'Dave Unverified',
    email: 'dave@corp.example',
    emailVerified: false,
    groups: ['eng'],
  },
];
