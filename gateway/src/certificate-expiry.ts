import { X509Certificate } from 'node:crypto';
import type { Log } from './observe/log.ts';

const DAY_MS = 86_400_000;
/** A certificate that is renewed on its own, as a rule at two thirds of its life, is no news before this. */
const MOST_DAYS_BEFORE = 30;
const SHARE_OF_LIFE = 1 / 4;
const LOOK_EVERY_MS = DAY_MS / 2;

/**
 * Says in the log, twice a day, that the certificate of `listen.tls` expires soon: in a quarter of its life, and in 30
 * days at most. Clients refuse it from that moment on, and nobody can sign in.
 */
export class CertificateExpiry {
  readonly #log: Log;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;

  /** @param now ms since the epoch. */
  constructor(log: Log, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /**
   * Watches this certificate instead of the one before.
   *
   * @param pem The chain; its first certificate is the one that clients see.
   * @param path Where it comes from, for the log.
   * @throws Error when it is no certificate.
   */
  watch(pem: string, path: string): void {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    const look = (): void => this.#look(validFromDate, validToDate, path);
    clearInterval(this.#timer);
    this.#timer = setInterval(look, LOOK_EVERY_MS).unref();
    look();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(from: Date, to: Date, path: string): void {
    const leftMs = to.getTime() - this.#now();
    const fields = { cert: path, expires_at: to.toISOString() };
    const before = Math.min(MOST_DAYS_BEFORE * DAY_MS, (to.getTime() - from.getTime()) * SHARE_OF_LIFE);
    if (leftMs <= 0) {
      this.#log.error(
        fields,
        'the TLS certificate has expired: clients refuse it. Replace the files of listen.tls',
      );
    } else if (leftMs < before) {
      this.#log.warn(
        { ...fields, days: Math.floor(leftMs / DAY_MS) },
        'the TLS certificate expires soon: replace the files of listen.tls, they are read again by themselves',
      );
    }
  }
}
