import { TallyByKey } from './tally-by-key.ts';

/** Whoever has not signed in shares an eighth: forms of the sign-in are small. */
const ANONYMOUS_PART = 8;
/** But room for one body of the admin API, which is read before it is known who asks. */
const MIN_ANONYMOUS_BYTES = 1024 * 1024;
/** One person may take half: with hundreds of agents, and never the place of everybody. */
const PERSON_PART = 2;

export interface BodyBudgetLimits {
  /** Bytes for all together. */
  readonly maxBufferedBodyBytes: number;
  /** Bytes that anybody may take at least, for one whole body. */
  readonly maxBodyBytes: number;
}

/** The bytes of request bodies that a process keeps: taken before a body is read, given back when it is let go of. */
export class BodyBudget {
  readonly #byPerson = new TallyByKey();
  #taken = 0;
  #anonymous = 0;

  /** Bytes that are taken. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * @param person Absent: somebody who has not signed in.
   * @returns 'taken', or what has no room: everybody together, or this person.
   */
  take(bytes: number, person: string | undefined, limits: BodyBudgetLimits): 'taken' | 'process' | 'person' {
    const most = limits.maxBufferedBodyBytes;
    if (this.#taken + bytes > most) return 'process';
    if (person === undefined) {
      if (this.#anonymous + bytes > Math.max(most / ANONYMOUS_PART, MIN_ANONYMOUS_BYTES)) return 'process';
      this.#anonymous += bytes;
    } else {
      if (this.#byPerson.of(person) + bytes > Math.max(most / PERSON_PART, limits.maxBodyBytes))
        return 'person';
      this.#byPerson.add(person, bytes);
    }
    this.#taken += bytes;
    return 'taken';
  }

  /** Gives back what was taken with the same arguments. */
  giveBack(bytes: number, person: string | undefined): void {
    this.#taken -= bytes;
    if (person === undefined) this.#anonymous -= bytes;
    else this.#byPerson.add(person, -bytes);
  }
}
