import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { RequestSource } from '../../bench/load/request-source.ts'
import { writeSegmentRequests, writeTrackRequests } from '../../bench/workload/protocol-requests.ts'

const REQUESTS = 20
const directory = mkdtempSync(join(tmpdir(), 'penstock-requests-'))
afterAll(() => rmSync(directory, { recursive: true }))

const plan = { directory, host: '127.0.0.1:3000', key: 'pk_1', requests: REQUESTS }

function bodyOf(request: Uint8Array): Buffer {
  const bytes = Buffer.from(request)
  const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
  expect(bytes.toString('latin1')).toContain(`Content-Length: ${body.length}\r\n`)
  return body
}

test('a batch of Segment’s API is compressed, and every call has an id of its own', () => {
  const source = new RequestSource(writeSegmentRequests({ ...plan, eventsPerRequest: 20 }).path, 0, 0)
  const batches = Array.from({ length: REQUESTS }, () => JSON.parse(gunzipSync(bodyOf(source.next())).toString()))
  const ids = batches.flatMap(({ batch }) => batch.map((call: { messageId: string }) => call.messageId))
  expect(new Set(ids).size).toBe(20 * REQUESTS)
})

test('an event of the browser script differs from pass to pass in one property, which makes it another event', () => {
  const source = new RequestSource(writeTrackRequests(plan).path, 0, 0)
  const bodies = Array.from({ length: 2 * REQUESTS }, () => JSON.parse(bodyOf(source.next()).toString()))
  expect(new Set(bodies.map(({ siteId }) => siteId))).toEqual(new Set(['pk_1']))
  for (const [index, { event }] of bodies.slice(REQUESTS).entries()) {
    const before = bodies[index].event
    expect(event.data.view).not.toBe(before.data.view)
    expect({ ...event, data: { ...event.data, view: before.data.view } }).toEqual(before)
  }
})
