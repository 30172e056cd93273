/** Backup and restore of the embedded ClickHouse, beside a running collector, as docs/operations.md has it. */
import { afterAll, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { newHome, startCollector, waitUntil } from '../support/collector.ts'
import { makeDrafts } from '../support/event-drafts.ts'

const home = newHome()
const collector = await startCollector({ home })

afterAll(async () => {
  await collector.stop()
  home.remove()
})

/** Not in a database: there may be none. */
async function command(sql: string): Promise<string> {
  const response = await fetch(home.clickhouseUrl, { method: 'POST', body: sql })
  const body = await response.text()
  if (!response.ok) throw new Error(body)
  return body
}

async function send(count: number): Promise<void> {
  const response = await collector.postEvents(makeDrafts(count))
  expect(response.status).toBe(201)
}

async function counts(): Promise<string> {
  const sum = (table: string) => `(SELECT sum(events) FROM penstock.events_per_${table})`
  return (await command(`SELECT count(), ${sum('minute')}, ${sum('day')} FROM penstock.events FORMAT CSV`)).trim()
}

test('what was backed up comes back, with what was accepted while the tables were away and coming back', async () => {
  await send(30)
  await collector.flushed()
  await command(`BACKUP DATABASE penstock TO File('monday')`)
  await send(7)
  await collector.flushed()
  await command(`BACKUP DATABASE penstock TO File('tuesday') SETTINGS base_backup = File('monday')`)
  expect(existsSync(join(home.directory, 'data/backups/tuesday'))).toBe(true)

  await command('DROP DATABASE penstock SYNC')
  const sending = Array.from({ length: 20 }, (_, n) => Bun.sleep(n * 15).then(() => send(1)))
  await command(`RESTORE DATABASE penstock EXCEPT TABLES penstock.events FROM File('tuesday')`)
  await command(`RESTORE TABLE penstock.events FROM File('tuesday') SETTINGS allow_non_empty_tables = true`)
  await Promise.all(sending)
  await waitUntil('everything is there', async () => (await counts()) === '57,57,57')
  await send(1)
  await collector.flushed()
  expect(await counts()).toBe('58,58,58')
})
