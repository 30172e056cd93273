import { expect, test } from 'bun:test'
import { collectOften } from '../src/young-garbage.ts'
import { waitUntil } from './support/collector.ts'

test('garbage is collected while events come, and not while there are few', async () => {
  let events = 0
  let collections = 0
  const coming = setInterval(() => {
    events += 100
  }, 10)
  const end = collectOften(
    () => events,
    () => collections++,
  )
  await waitUntil('garbage is collected', () => collections > 2)
  clearInterval(coming)
  await Bun.sleep(200) // the interval in which the last came is over
  const atRest = collections
  await Bun.sleep(300)
  expect(collections).toBe(atRest)
  end()
})
