/** Questions that go together. */
import { expect, test } from 'bun:test'
import { Gathering } from '../../src/dedupe/gathering.ts'

/** Lots that were asked; each waits until it is answered. Answers are the questions times ten. */
function held() {
  const lots: { readonly questions: readonly number[]; readonly settle: (error?: Error) => void }[] = []
  const ask = (questions: readonly number[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<readonly number[]>()
    const settle = (error?: Error) => {
      if (error === undefined) resolve(questions.map((question) => 10 * question))
      else reject(error)
    }
    lots.push({ questions, settle })
    return promise
  }
  const gathering = new Gathering(ask, (question: number) => question, 10)
  return { lots, add: (question: number) => gathering.add(question) }
}

test('the first goes at once, those that come meanwhile go together after it, in their order', async () => {
  const { lots, add } = held()
  const answers = [1, 2, 3].map(add)
  expect(lots.map(({ questions }) => questions)).toEqual([[1]])
  lots[0]?.settle()
  expect(await answers[0]).toBe(10)
  expect(lots.map(({ questions }) => questions)).toEqual([[1], [2, 3]])
  answers.push(add(4))
  lots[1]?.settle()
  await answers[2]
  lots[2]?.settle()
  expect(await Promise.all(answers)).toEqual([10, 20, 30, 40])
  const later = add(5)
  expect(lots.at(-1)?.questions).toEqual([5])
  lots.at(-1)?.settle()
  expect(await later).toBe(50)
})

test('a lot is as large as is allowed, unless one question alone is larger', async () => {
  const { lots, add } = held()
  const answers = [1, 4, 6, 1, 30, 2].map(add)
  for (let at = 0; at < 5; at++) {
    lots[at]?.settle()
    await Bun.sleep(0)
  }
  expect(lots.map(({ questions }) => questions)).toEqual([[1], [4, 6], [1], [30], [2]])
  expect(await Promise.all(answers)).toEqual([10, 40, 60, 10, 300, 20])
})

test('what fails fails for its lot, and the next goes on', async () => {
  const { lots, add } = held()
  const answers = Promise.allSettled([1, 2, 3].map(add))
  const last = add(9)
  lots[0]?.settle()
  await Bun.sleep(0)
  lots[1]?.settle(new Error('broken'))
  await Bun.sleep(0)
  lots[2]?.settle()
  expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  expect(await last).toBe(90)
})
