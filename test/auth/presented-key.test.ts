import { expect, test } from 'bun:test'
import { presentedKey } from '../../src/auth/presented-key.ts'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

test.each<[Record<string, string>, string | undefined]>([
  [{ 'API-Key': 'pk_1' }, 'pk_1'],
  [{ 'X-API-Key': 'pk_1' }, 'pk_1'],
  [{ Authorization: 'Bearer pk_1' }, 'pk_1'],
  [{ Authorization: 'bearer   pk_1' }, 'pk_1'],
  [{ Authorization: basic('pk_1:') }, 'pk_1'],
  [{ Authorization: basic('pk_1:password:more') }, 'pk_1'],
  [{ Authorization: basic('pk_1') }, 'pk_1'],
  [{ authorization: basic('pk_1:').replace('Basic', 'BASIC') }, 'pk_1'],
  [{ 'API-Key': 'pk_1', 'X-API-Key': 'pk_2', Authorization: 'Bearer pk_3' }, 'pk_1'],
  [{ 'X-API-Key': 'pk_2', Authorization: 'Bearer pk_3' }, 'pk_2'],
  [{}, undefined],
  [{ 'API-Key': '' }, undefined],
  [{ Authorization: '' }, undefined],
  [{ Authorization: 'Bearer' }, undefined],
  [{ Authorization: 'Bearer ' }, undefined],
  [{ Authorization: 'pk_1' }, undefined],
  [{ Authorization: 'Digest pk_1' }, undefined],
  [{ Authorization: basic(':pk_1') }, undefined],
  [{ Authorization: 'Basic ~~~' }, undefined],
])('the headers %j present the key %j', (headers, key) => {
  expect(presentedKey(new Headers(headers))).toBe(key as string)
})
