/**
 * Signing secrets must be read back to check a signature, so they are encrypted instead of hashed: who only gets hold of
 * the database (a backup, a dump) cannot sign.
 *
 * Stored form: `v1.<key id>.<base64url of nonce (12) ‖ ciphertext ‖ tag (16)>`, AES-256-GCM. The key id (the first 8 hex
 * digits of the key's SHA-256) tells a wrong key from damaged data. The workspace is authenticated with the text, so that a secret
 * copied to another workspace's row does not decrypt.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Problem, problem, reasonOf } from '../problem.ts'
import { createPrivateFile, readIfThere } from './private-file.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Encrypts and decrypts the signing secrets of workspaces. `owner` names the workspace and is part of the proof. */
export interface SecretBox {
  /** Tells keys apart without telling them. */
  readonly keyId: string
  encrypt(secret: string, owner: string): string
  decrypt(stored: string, owner: string): string | Problem<'wrong_secrets_key' | 'damaged_secret'>
}

/** Why there is no key to decrypt signing secrets with, or not the right one. */
export type SecretsKeyProblem = 'secrets_key_missing' | 'secrets_key_unusable' | 'wrong_secrets_key'

/** Where the key comes from. */
export interface SecretsKeyOptions {
  readonly dataDir: string
  /** 64 hexadecimal digits; without it the key is in DATA_DIR/secret.key. */
  readonly signingSecretsKey?: string
}

/** `keyHex`: 64 hexadecimal digits. */
export function createSecretBox(keyHex: string): SecretBox {
  const key = Buffer.from(keyHex, 'hex')
  const keyId = createHash('sha256').update(key).digest('hex').slice(0, 8)
  return {
    keyId,
    encrypt(secret, owner) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(owner))
      const sealed = Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `v1.${keyId}.${sealed.toString('base64url')}`
    },
    decrypt(stored, owner) {
      const [version, storedKeyId, sealedText] = stored.split('.')
      const sealed = Buffer.from(sealedText ?? '', 'base64url')
      if (version !== 'v1' || sealed.length < NONCE_BYTES + TAG_BYTES) {
        return problem('damaged_secret', `the signing secret of ${owner} is not readable`)
      }
      if (storedKeyId !== keyId) {
        return problem(
          'wrong_secrets_key',
          `the signing secret of ${owner} was encrypted with key ${storedKeyId}, this is ${keyId}`,
        )
      }
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES))
      decipher.setAAD(Buffer.from(owner)).setAuthTag(sealed.subarray(-TAG_BYTES))
      try {
        return decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return problem('damaged_secret', `the signing secret of ${owner} fails its integrity check`)
      }
    },
  }
}

/**
 * The box with the key of this installation. `stored` is any secret that was encrypted before, undefined when there is none yet:
 * only then a key may be made, later that would hide that the real one is lost, or is on another machine.
 */
export function openSecretBox(
  options: SecretsKeyOptions,
  stored: string | undefined,
): SecretBox | Problem<SecretsKeyProblem> {
  const path = join(options.dataDir, 'secret.key')
  const mend =
    'set SIGNING_SECRETS_KEY as it was, or bring back DATA_DIR/secret.key; several collectors need the same key; if it is lost: `workspaces rotate-signing-secret --all`'
  let keyHex = options.signingSecretsKey
  try {
    if (keyHex === undefined && stored !== undefined && readIfThere(path) === undefined)
      return problem('secrets_key_missing', `signing secrets are encrypted and ${path} is missing: ${mend}`)
    keyHex ??= readOrCreateSecretsKey(path)
  } catch (error) {
    return problem('secrets_key_unusable', reasonOf(error))
  }
  const box = createSecretBox(keyHex)
  const storedKeyId = /^v1\.([0-9a-f]{8})\./.exec(stored ?? '')?.[1] ?? box.keyId
  if (storedKeyId === box.keyId) return box
  const given = options.signingSecretsKey === undefined ? path : 'SIGNING_SECRETS_KEY'
  return problem(
    'wrong_secrets_key',
    `signing secrets are encrypted with key ${storedKeyId}, but ${given} is key ${box.keyId}: ${mend}`,
  )
}

/** The key in the file, which is made (mode 0600) when it is missing. Throws when the file cannot be read, made or is no key. */
export function readOrCreateSecretsKey(path: string): string {
  const existing = readIfThere(path)
  if (existing === undefined) createPrivateFile(path, `${randomBytes(32).toString('hex')}\n`)
  const key = (existing ?? readIfThere(path) ?? '').trim()
  if (!/^[0-9a-f]{64}$/i.test(key))
    throw new Error(`${path} does not hold 64 hexadecimal digits: restore it from a backup`)
  return key
}
