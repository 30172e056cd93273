import { expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPrivateFile, readIfThere } from '../../src/control/private-file.ts'
import { createSecretBox, readOrCreateSecretsKey } from '../../src/control/signing-secrets.ts'
import { codeOf, temporaryDataDir } from './control-fixture.ts'

const box = createSecretBox('0f'.repeat(32))

test('the same secret never looks the same twice', () => {
  expect(box.encrypt('secret', 'acme/web')).not.toBe(box.encrypt('secret', 'acme/web'))
})

test('a secret that was moved to another workspace does not decrypt', () => {
  expect(codeOf(box.decrypt(box.encrypt('secret', 'acme/web'), 'acme/shop'))).toBe('damaged_secret')
})

test('any changed character is found', () => {
  const stored = box.encrypt('secret', 'acme/web')
  for (let position = stored.lastIndexOf('.') + 1; position < stored.length - 1; position += 1) {
    const other = stored[position] === 'A' ? 'B' : 'A'
    const changed = stored.slice(0, position) + other + stored.slice(position + 1)
    expect(codeOf(box.decrypt(changed, 'acme/web'))).toBe('damaged_secret')
  }
})

test.each(['', 'v1', 'v1..', 'v2.00000000.AAAA', 'secret'])('the stored text %p is damaged', (stored) => {
  expect(codeOf(box.decrypt(stored, 'acme/web'))).toBe('damaged_secret')
})

test('the key file is made once and read from then on', () => {
  const path = join(temporaryDataDir(), 'secret.key')
  const key = readOrCreateSecretsKey(path)
  expect(key).toMatch(/^[0-9a-f]{64}$/)
  expect(readOrCreateSecretsKey(path)).toBe(key)
})

test('a key file that holds no key is not overwritten', () => {
  const path = join(temporaryDataDir(), 'secret.key')
  writeFileSync(path, '')
  expect(() => readOrCreateSecretsKey(path)).toThrow('secret.key')
  expect(readIfThere(path)).toBe('')
})

test('a private file is never replaced, and no draft is left behind', () => {
  const directory = temporaryDataDir()
  const path = join(directory, 'file')
  expect(createPrivateFile(path, 'first')).toBe(true)
  expect(createPrivateFile(path, 'second')).toBe(false)
  expect(readIfThere(path)).toBe('first')
  expect(readdirSync(directory)).toEqual(['file'])
})
