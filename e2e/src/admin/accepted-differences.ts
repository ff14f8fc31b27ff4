/**
 * Where this gateway answers otherwise than the reference, by the name of the call, and why that is meant.
 * docs/reference-differences.md tells it to people.
 */
export const ACCEPTED: Readonly<Record<string, string>> = {
  'user id with NUL': 'PostgreSQL cannot keep the character: the reference fails with 500, here it is a 400.',
  'get with NUL': 'The reference fails with 500; there is no such limit, so here it is a 404.',
  'HEAD on the list': 'HEAD answers wherever GET does (RFC 9110 §9.3.2); the reference answers 404.',
  trail: 'The trail keeps the reason that a caller gives; the reference drops it.',
  'amount: eighteen digits':
    'Amounts are kept in nano-USD: the most is "922337203685" cents, some nine billion dollars.',
  'amount: a trillion cents':
    'Amounts are kept in nano-USD: the most is "922337203685" cents, some nine billion dollars.',
  'user id in broken UTF-8':
    'The reference stores a replacement character, a limit for nobody; here the body is refused.',
  'reason is a number': 'The reference ignores reasons altogether; here one must be a string.',
  'body beyond a mebibyte': 'Bodies are read up to 1 MiB.',
  'pool is paused': 'A pool that is paused keeps no amount here: it is removed with amount null.',
  'pool beside no limit per member': 'A pool holds by itself: members need no limit of their own beside it.',
};
