/** What Redis knows of event ids, read past the code that writes it. */
import { UUID_BYTES, writeUuid } from '../../src/native/uuid.ts'
import type { TestRedis } from './redis.ts'

/** Of all hashes of the workspace what counts now, the newest last. */
const READ = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local id = string.gsub(ARGV[2], '..', function(digits) return string.char(tonumber(digits, 16)) end)
local keys = redis.call('KEYS', 'penstock:ids:' .. ARGV[1] .. ':*')
table.sort(keys)
local found = {}
for _, key in ipairs(keys) do
  local value = redis.call('HGET', key, id)
  if value and tonumber(string.sub(value, 2, 14)) > now then found[#found + 1] = value end
end
return found`

/** What is known of an id. */
export interface SharedId {
  /** `d`: it is durable; `p` and a collector: it is being committed there; empty: nothing is known. */
  readonly state: string
  /** When that ends, in milliseconds since 1970; 0: nothing is known. */
  readonly until: number
}

/** @param workspace `<tenant>:<workspace>` */
export function sharedId(redis: TestRedis, workspace: string, uuid: string): SharedId {
  const bytes = Buffer.alloc(UUID_BYTES)
  writeUuid(uuid, bytes, 0)
  const values = redis.cli('eval', READ, '0', workspace, bytes.toString('hex')).split('\n').filter(Boolean)
  const value = values.find((said) => said.startsWith('d')) ?? values.at(-1)
  if (value === undefined) return { state: '', until: 0 }
  const [, letter = '', until = '', owner = ''] = /^([dp])(\d{13})(.*)$/.exec(value) ?? []
  if (letter === '') throw new Error(`not what collectors tell each other of an id: ${value}`)
  return { state: letter + owner, until: Number(until) }
}
