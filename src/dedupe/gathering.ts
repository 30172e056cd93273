/** Questions that are cheaper together: while some are on their way, those that come gather, and go together next. */

interface Waiting<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/** See the head of the file. */
export class Gathering<Question, Answer> {
  private readonly ask: (lot: readonly Question[]) => Promise<readonly Answer[]>
  private readonly sizeOf: (question: Question) => number
  private readonly lotSizeMax: number
  private waiting: Waiting<Question, Answer>[] = []
  private isAsking = false

  /**
   * @param ask gives an answer for each, in their order
   * @param lotSizeMax of those that go together: the sum of their sizes; one alone may be larger
   */
  constructor(
    ask: (lot: readonly Question[]) => Promise<readonly Answer[]>,
    sizeOf: (question: Question) => number,
    lotSizeMax: number,
  ) {
    this.ask = ask
    this.sizeOf = sizeOf
    this.lotSizeMax = lotSizeMax
  }

  /** Goes at once when nothing is on its way. Rejects with what `ask` throws. */
  add(question: Question): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.waiting.push({ question, resolve, reject })
    if (!this.isAsking) void this.askAll()
    return promise
  }

  private async askAll(): Promise<void> {
    this.isAsking = true
    while (this.waiting.length > 0) {
      const lot = this.nextLot()
      try {
        const answers = await this.ask(lot.map(({ question }) => question))
        for (const [index, { resolve }] of lot.entries()) resolve(answers[index] as Answer)
      } catch (error) {
        for (const { reject } of lot) reject(error)
      }
    }
    this.isAsking = false
  }

  private nextLot(): Waiting<Question, Answer>[] {
    let size = 0
    const end = this.waiting.findIndex(({ question }, index) => {
      size += this.sizeOf(question)
      return index > 0 && size > this.lotSizeMax
    })
    return this.waiting.splice(0, end === -1 ? this.waiting.length : end)
  }
}
