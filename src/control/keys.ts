/**
 * What a key looks like: `pk_` (public) or `sk_` (secret) and 43 characters of base62, which is 256 random bits.
 *
 * Only the SHA-256 of a key is stored. A slow hash (bcrypt, argon2) protects secrets that people choose, because those
 * can be guessed; 256 random bits cannot, whatever the speed of the hash. A fast one keeps a cache miss cheap, and
 * without salt the hash can be looked up in an index, which leaves no comparison whose timing tells anything.
 */
import { createHash, randomBytes } from 'node:crypto'

/** Public keys stand in web pages and may only ingest; secret keys belong on servers. */
export type KeyKind = 'public' | 'secret'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const RANDOM_LENGTH = 43 // 43 × log2(62) = 256.03 bits
const SHOWN_LENGTH = 12 // leaves 202 unknown bits
const KEY_PATTERN = new RegExp(`^[ps]k_[0-9A-Za-z]{${RANDOM_LENGTH}}$`)

/** A new key, to be shown once. */
export function generateKey(kind: KeyKind): string {
  return `${kind === 'public' ? 'pk' : 'sk'}_${randomBase62(RANDOM_LENGTH)}`
}

/** A new signing secret, to be shown once. */
export function generateSigningSecret(): string {
  return `ss_${randomBase62(RANDOM_LENGTH)}`
}

/** A new identifier of a key: 95 random bits, no secret. */
export function generateKeyId(): string {
  return `key_${randomBase62(16)}`
}

/** Whether the text could be a key at all; what could not needs no look into the database. */
export function isKeyShaped(text: string): boolean {
  return KEY_PATTERN.test(text)
}

/** SHA-256 in hexadecimal. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** The part of a key that may be shown again. */
export function keyPrefix(key: string): string {
  return key.slice(0, SHOWN_LENGTH)
}

function randomBase62(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 = 4 × 62: larger bytes would make the first letters likelier.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62]
    }
  }
  return text
}
