import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RequestSource } from '../../bench/load/request-source.ts'
import { writeEventRequests } from '../../bench/workload/penstock-requests.ts'

const REQUESTS = 3
const root = mkdtempSync(join(tmpdir(), 'penstock-requests-'))
afterAll(() => rmSync(root, { recursive: true }))

function write(hasIds?: boolean) {
  return writeEventRequests({
    directory: mkdtempSync(join(root, 'requests-')),
    host: '127.0.0.1:3000',
    keys: ['key'],
    eventsPerRequest: 2,
    requests: REQUESTS,
    ...(hasIds === undefined ? {} : { hasIds }),
  }).path
}

function take(source: RequestSource, count: number): string[] {
  return Array.from({ length: count }, () => Buffer.from(source.next()).toString())
}

function idsOf(request: string): string[] {
  const body = request.slice(request.indexOf('\r\n\r\n') + 4)
  expect(request).toContain(`Content-Length: ${body.length}\r\n`)
  const { events }: { events: { event_id: string }[] } = JSON.parse(body)
  return events.map((event) => event.event_id)
}

test('every pass over numbered requests brings new ids, all of them UUIDs, and other loads bring others', () => {
  const path = write(true)
  const requests = [
    ...take(new RequestSource(path, 0, 0), 2 * REQUESTS),
    ...take(new RequestSource(path, 2, 0), REQUESTS),
  ]
  const ids = requests.flatMap(idsOf)
  expect(new Set(ids).size).toBe(2 * 3 * REQUESTS)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('a copy comes the wanted number of originals later, and every original has one', () => {
  const [first = '', second = '', ...others] = take(new RequestSource(write(true), 0, 2), 10)
  const originals = [first, second, ...others.filter((_, index) => index % 2 === 0)]
  const copies = others.filter((_, index) => index % 2 === 1)
  expect(new Set(originals).size).toBe(6)
  expect(copies).toEqual(originals.slice(0, 4))
})

test('requests without ids are the same in every pass, and say the same but for the ids', () => {
  const passes = take(new RequestSource(write(false), 7, 0), 2 * REQUESTS)
  expect(passes.slice(REQUESTS)).toEqual(passes.slice(0, REQUESTS))
  const bare = (request: string) => request.replaceAll(/Content-Length: \d+|"(event_id|timestamp)":"[^"]*",/g, '')
  expect(take(new RequestSource(write(true), 7, 0), REQUESTS).map(bare)).toEqual(passes.slice(0, REQUESTS).map(bare))
})
