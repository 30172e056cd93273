import { describe, expect, test } from 'bun:test'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { keyState } from '../../src/control/key-record.ts'
import { hashKey } from '../../src/control/keys.ts'
import { openControl } from '../../src/control/open-control.ts'
import { codeOf, everyDatabase, good, type NewPlace, openTestControl, provisionAcme } from './control-fixture.ts'

const MINUTE_MS = 60_000

describe.each(await everyDatabase())('in %s', (_name, newPlace: NewPlace) => {
  describe('provisioning', () => {
    test('gives a workspace with a public key that may ingest and a secret key that may also read', async () => {
      const control = await openTestControl(await newPlace())
      const made = await provisionAcme(control)
      expect(made).toMatchObject({ tenantId: 'acme', workspaceId: 'web' })
      expect(await control.findKeyByHash(hashKey(made.publicKey))).toMatchObject({
        tenantId: 'acme',
        workspaceId: 'web',
        kind: 'public',
        scopes: ['ingest'],
        tier: 'site',
        prefix: made.publicKey.slice(0, 12),
      })
      expect(await control.findKeyByHash(hashKey(made.secretKey))).toMatchObject({
        kind: 'secret',
        scopes: ['ingest', 'read'],
        tier: 'free',
      })
    })

    test('a tier that is asked for goes to both keys', async () => {
      const control = await openTestControl(await newPlace())
      good(await control.provision({ tenant: 'acme', workspace: 'web', tier: '2500' }))
      expect((await control.listKeys()).map((key) => key.tier)).toEqual(['2500', '2500'])
    })

    test('a taken workspace name is a problem and leaves everything as it was', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      expect(codeOf(await control.provision({ tenant: 'acme', workspace: 'web' }))).toBe('workspace_taken')
      expect(await control.listKeys()).toHaveLength(2)
    })

    test('two tenants may use the same workspace name, one tenant may have several workspaces', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      good(await control.provision({ tenant: 'acme', workspace: 'shop' }))
      good(await control.provision({ tenant: 'other', workspace: 'web' }))
      expect(await control.listWorkspaces()).toHaveLength(3)
      expect(await control.listKeys({ tenant: 'acme', workspace: 'web' })).toHaveLength(2)
      expect(await control.listKeys({ tenant: 'acme' })).toHaveLength(4)
    })

    test.each(['', 'a b', '-a', 'a/b', 'ä', 'a\n', 'a'.repeat(64), "a'; drop table keys; --"])(
      'the name %p is refused',
      async (name) => {
        const control = await openTestControl(await newPlace())
        expect(codeOf(await control.provision({ tenant: name, workspace: 'web' }))).toBe('invalid_name')
        expect(codeOf(await control.provision({ tenant: 'acme', workspace: name }))).toBe('invalid_name')
        expect(await control.listWorkspaces()).toEqual([])
      },
    )

    test.each(['gold', '0', '-5', '1.5', ''])('the tier %p is refused', async (tier) => {
      const control = await openTestControl(await newPlace())
      expect(codeOf(await control.provision({ tenant: 'acme', workspace: 'web', tier }))).toBe('invalid_tier')
    })

    test('when many processes ask for the same new workspace at once, on a new directory, exactly one gets it', async () => {
      const place = await newPlace()
      const module = join(import.meta.dir, '../../src/control/open-control.ts')
      const script = `
      import { openControl } from ${JSON.stringify(module)}
      const control = await openControl(${JSON.stringify(place)})
      const made = await control.provision({ tenant: 'acme', workspace: 'web' })
      console.log(made.problem ?? 'made')`
      const children = Array.from({ length: 6 }, () =>
        Bun.spawn([process.execPath, '-e', script], { stderr: 'inherit' }),
      )
      const answers = await Promise.all(children.map((child) => new Response(child.stdout).text()))
      expect(answers.map((answer) => answer.trim()).sort()).toEqual(['made', ...Array(5).fill('workspace_taken')])
    })
  })

  describe('keys', () => {
    test('are 256 random bits behind a readable prefix', async () => {
      const made = await provisionAcme(await openTestControl(await newPlace()))
      expect(made.publicKey).toMatch(/^pk_[0-9A-Za-z]{43}$/)
      expect(made.secretKey).toMatch(/^sk_[0-9A-Za-z]{43}$/)
    })

    test('a created key has the scopes, tier and expiry it was asked for', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const expiresAt = new Date(Date.now() + MINUTE_MS)
      const request = { tenant: 'acme', workspace: 'web', kind: 'secret', scopes: 'admin, read', tier: 'pro' } as const
      const { key, record } = good(await control.createKey({ ...request, expiresAt }))
      expect(record).toMatchObject({ scopes: ['read', 'admin'], tier: 'pro', expiresAt: expiresAt.toISOString() })
      expect(await control.findKeyByHash(hashKey(key))).toMatchObject(record)
      expect(keyState(record)).toBe('active')
      expect(keyState(record, expiresAt.getTime())).toBe('expired')
    })

    test('wrong requests are problems', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const create = (request: object) =>
        control.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', ...request })
      expect(codeOf(await create({ workspace: 'shop' }))).toBe('no_such_workspace')
      expect(codeOf(await create({ scopes: 'write' }))).toBe('invalid_scope')
      expect(codeOf(await create({ scopes: '' }))).toBe('invalid_scope')
      expect(codeOf(await create({ kind: 'public', scopes: 'ingest,read' }))).toBe('invalid_scope')
      expect(codeOf(await create({ tier: 'gold' }))).toBe('invalid_tier')
      expect(codeOf(await control.rotateKey('key_none', 0))).toBe('no_such_key')
      expect(codeOf(await control.revokeKey('key_none'))).toBe('no_such_key')
      expect(await control.findKeyByHash(hashKey('unknown'))).toBeUndefined()
    })

    test('a rotated key works through its grace period, its successor has the same rights', async () => {
      const control = await openTestControl(await newPlace())
      const { secretKey } = await provisionAcme(control)
      const old = await control.findKeyByHash(hashKey(secretKey))
      const before = Date.now()
      const next = good(await control.rotateKey(old?.id ?? '', MINUTE_MS))
      expect(next.record).toMatchObject({ kind: 'secret', scopes: ['ingest', 'read'], tier: 'free', expiresAt: null })
      const replaced = await control.findKeyByHash(hashKey(secretKey))
      expect(replaced).toMatchObject({ id: old?.id, replacedBy: next.record.id })
      expect(replaced && keyState(replaced, before + MINUTE_MS - 1)).toBe('active')
      expect(replaced && keyState(replaced, Date.now() + MINUTE_MS)).toBe('expired')
    })

    test('rotation never lengthens the life of the old key, and the new one ends when the old one would have', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const expiresAt = new Date(Date.now() + MINUTE_MS)
      const { record } = good(await control.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', expiresAt }))
      const next = good(await control.rotateKey(record.id, 60 * MINUTE_MS))
      const old = (await control.listKeys()).find((key) => key.id === record.id)
      expect(old?.expiresAt).toBe(expiresAt.toISOString())
      expect(next.record.expiresAt).toBe(expiresAt.toISOString())
    })

    test('a key is rotated once, and a revoked one not at all', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const [first, second] = await control.listKeys()
      good(await control.rotateKey(first?.id ?? '', MINUTE_MS))
      expect(codeOf(await control.rotateKey(first?.id ?? '', MINUTE_MS))).toBe('key_not_active')
      good(await control.revokeKey(second?.id ?? ''))
      expect(codeOf(await control.rotateKey(second?.id ?? '', MINUTE_MS))).toBe('key_not_active')
      expect(await control.listKeys()).toHaveLength(3)
    })

    test('revoking ends a key at once, and again changes nothing', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const id = (await control.listKeys())[0]?.id ?? ''
      const revoked = good(await control.revokeKey(id))
      expect(keyState(revoked)).toBe('revoked')
      expect(good(await control.revokeKey(id))).toEqual(revoked)
    })

    test('the last use only moves forward', async () => {
      const control = await openTestControl(await newPlace())
      await provisionAcme(control)
      const id = (await control.listKeys())[0]?.id ?? ''
      const lastUse = async () => (await control.listKeys()).find((key) => key.id === id)?.lastUsedAt
      await control.touchKeys(new Map([[id, Date.UTC(2030, 0, 2)]]))
      await control.touchKeys(new Map([[id, Date.UTC(2030, 0, 1)]]))
      expect(await lastUse()).toBe('2030-01-02T00:00:00.000Z')
    })
  })

  describe('signing secrets', () => {
    test('come back as they were given out', async () => {
      const control = await openTestControl(await newPlace())
      const made = await provisionAcme(control)
      expect(good(await control.secrets.read({ tenant: 'acme', workspace: 'web' }))).toBe(made.signingSecret)
    })

    test('without a key of its own, one is made in the data directory for the owner alone', async () => {
      const place = await newPlace()
      await provisionAcme(await openTestControl(place))
      expect(statSync(join(place.dataDir, 'secret.key')).mode & 0o777).toBe(0o600)
    })

    test('are replaced one by one, or all of them when the key is lost', async () => {
      const place = await newPlace()
      const first = await openTestControl({ ...place, signingSecretsKey: 'a1'.repeat(32) })
      const web = { tenant: 'acme', workspace: 'web' }
      const shop = { tenant: 'acme', workspace: 'shop' }
      const made = await provisionAcme(first)
      good(await first.provision(shop))
      const { signingSecret } = good(await first.secrets.rotate(web))
      expect(signingSecret).not.toBe(made.signingSecret)
      expect(good(await first.secrets.read(web))).toBe(signingSecret)
      expect(codeOf(await first.secrets.rotate({ tenant: 'acme', workspace: 'none' }))).toBe('no_such_workspace')

      const lost = await openTestControl({ ...place, signingSecretsKey: 'b2'.repeat(32) })
      expect(codeOf(await lost.secrets.rotate(web))).toBe('wrong_secrets_key')
      expect(good(await first.secrets.read(web))).toBe(signingSecret)
      expect(codeOf(await lost.createKey({ ...web, kind: 'secret', signing: 'required' }))).toBe('wrong_secrets_key')
      good(await lost.createKey({ ...web, kind: 'secret' }))
      const all = good(await lost.secrets.rotateAll())
      expect(all.map(({ workspaceId }) => workspaceId)).toEqual(['web', 'shop'])
      for (const { tenantId, workspaceId, signingSecret } of all)
        expect(good(await lost.secrets.read({ tenant: tenantId, workspace: workspaceId }))).toBe(signingSecret)
      expect(await lost.secrets.problem()).toBeUndefined()
      good(await lost.provision({ tenant: 'acme', workspace: 'third' }))
      good(await lost.createKey({ ...web, kind: 'secret', signing: 'required' }))
    })

    test('another key, or none, is a problem and no garbage', async () => {
      const place = await newPlace()
      const first = await openTestControl({ ...place, signingSecretsKey: 'a1'.repeat(32) })
      await provisionAcme(first)
      const name = { tenant: 'acme', workspace: 'web' }
      const other = await openTestControl({ ...place, signingSecretsKey: 'b2'.repeat(32) })
      expect(codeOf(await other.secrets.read(name))).toBe('wrong_secrets_key')
      const none = await openTestControl(place)
      expect(codeOf(await none.secrets.read(name))).toBe('secrets_key_missing')
      expect(codeOf(await none.provision({ tenant: 'acme', workspace: 'shop' }))).toBe('secrets_key_missing')
    })
  })

  describe('opening', () => {
    test('what was stored is there after a restart', async () => {
      const place = await newPlace()
      const control = good(await openControl(place))
      const { publicKey } = await provisionAcme(control)
      await control.close()
      const again = await openTestControl(place)
      expect(await again.findKeyByHash(hashKey(publicKey))).toBeDefined()
    })

    test('a change by another process is seen at once', async () => {
      const place = await newPlace()
      const server = await openTestControl(place)
      const commandLine = await openTestControl(place)
      const { publicKey } = await provisionAcme(commandLine)
      const key = await server.findKeyByHash(hashKey(publicKey))
      expect(key && keyState(key)).toBe('active')
      good(await commandLine.revokeKey(key?.id ?? ''))
      const revoked = await server.findKeyByHash(hashKey(publicKey))
      expect(revoked && keyState(revoked)).toBe('revoked')
    })
  })
})
